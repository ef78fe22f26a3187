"""Words for the configuration as `pytest-jarvis config show` prints it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from pytest_jarvis.outputs.wording.formats import printable, typeset

_FROM: Final[Mapping[str, str]] = {"option": "option {by}", "file": "fichier", "default": "défaut"}
_RESULT: Final[Mapping[str, str]] = {
    "engine": "moteur",
    "adapters": "adaptateurs",
    "prompts": "prompts",
    "looks": "réponses par prompt et bras",
    "reports": "rapport",
}
RESULTS: Final = "Ce qui en résulte"


def files_line(files: Sequence[str]) -> str:
    """Return which files the configuration is of."""
    return typeset(f"Fichier : {printable(', '.join(files)) or 'aucun'}")


def come_from(kind: str, by: str | None) -> str:
    """Return where a value comes from."""
    return _FROM[kind].format(by=by)


def result_name(name: str) -> str:
    """Return what is called so that comes of everything together."""
    return _RESULT.get(name, name)


def shown(value: object) -> str:
    """Return a value as the file has it, on one line."""
    return printable(json.dumps(value, ensure_ascii=False))
