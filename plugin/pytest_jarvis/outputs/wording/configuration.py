"""The configuration as `pytest-jarvis config show` prints it: each value with where it comes from, in French."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.outputs.wording.formats import fit, printable, typeset, width_of

if TYPE_CHECKING:
    from pytest_jarvis.settings import Origin

_FROM: Final[Mapping[str, str]] = {"option": "option {by}", "file": "fichier", "default": "défaut"}
_RESULT: Final[Mapping[str, str]] = {
    "engine": "moteur",
    "adapters": "adaptateurs",
    "prompts": "prompts",
    "looks": "réponses par prompt et bras",
    "reports": "rapport",
}
_KEY_WIDTH: Final = 26
_VALUE_WIDTH: Final = 34


def settings_lines(origins: Sequence[Origin], result: Mapping[str, Any]) -> list[str]:
    """Return a line per key under its section, then what they come to together."""
    files = {origin.by for origin in origins if origin.kind == "file"}
    lines = [f"Fichier : {printable(', '.join(sorted(map(str, files))))}" if files else "Fichier : aucun"]
    section = ""
    for origin in origins:
        if origin.section != section:
            section = origin.section
            lines += ["", section]
        told = _FROM[origin.kind].format(by=origin.by)
        lines.append(_line(origin.key, shown(origin.value), told))
    lines += ["", "Ce qui en résulte"]
    lines += [_line(_RESULT.get(name, name), shown(value), "") for name, value in result.items()]
    return [typeset(line) for line in lines]


def shown(value: object) -> str:
    """Return a value as the file has it, on one line."""
    return printable(json.dumps(value, ensure_ascii=False))


def _line(key: str, value: str, told: str) -> str:
    room = max(_VALUE_WIDTH, width_of(value))
    return f"  {fit(key, _KEY_WIDTH)} {fit(value, room)}  {told}".rstrip()
