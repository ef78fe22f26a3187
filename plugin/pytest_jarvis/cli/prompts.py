"""`pytest-jarvis prompts generate`: a category of misheard prompts, made of a clean one."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_jarvis.cli.common import Parser, configuration_of, say
from pytest_jarvis.files import InputError, nearest
from pytest_jarvis.inputs.options import natural, positive

if TYPE_CHECKING:
    from pytest_jarvis.cli.common import Commands
    from pytest_jarvis.inputs.misheard import MisheardPrompt
    from pytest_jarvis.inputs.prompts import PromptSet


def add(commands: Commands) -> None:
    """Declare the command and its part."""
    command = commands.add_parser("prompts", help="make prompts of others")
    parts = command.add_subparsers(metavar="generate", required=True, parser_class=Parser)
    generate = parts.add_parser("generate", help="make misheard prompts of a category, by rules of French phonetics")
    generate.add_argument("--from", metavar="CATEGORY", dest="category", required=True, help="the clean prompts")
    generate.add_argument("--n", metavar="N", type=positive, default=200, help="how many (default: 200)")
    generate.add_argument("--seed", metavar="N", type=natural, default=0, help="which ones (default: 0)")
    generate.add_argument(
        "--out", metavar="FILE.toml", type=Path, help="new file, whose name is the category (default: print it)"
    )
    generate.add_argument(
        "--prompts", metavar="DIR", dest="jarvis_prompts", help="folder of prompts (default: as for pytest)"
    )
    generate.add_argument(
        "--jarvis-config", metavar="FILE", help="configuration file (default: benchmark_config.json of this folder)"
    )
    generate.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from pytest_jarvis.run.settings import resolve_prompts

    conf, file = configuration_of(options.jarvis_config)
    folder = resolve_prompts(conf, options, file.parent, Path())
    return generate_prompts(folder, options.category, options.n, options.seed, options.out)


def generate_prompts(folder: Path, category: str, number: int, seed: int, out: Path | None) -> int:
    """Write, or print, a category of `number` misheard prompts; InputError when the rules make fewer."""
    from pytest_jarvis.files import write_atomically
    from pytest_jarvis.inputs.misheard import draw_misheard, mishear_all
    from pytest_jarvis.inputs.prompts import load_prompts
    from pytest_jarvis.render.french.labels import written

    known = load_prompts(folder)
    names = [one.name for one in known.categories]
    if category not in names:
        raise InputError(f"--from: no file '{category}.toml' in {folder}{nearest(category, names)}")
    if out is not None and (out.exists() or out.suffix != ".toml" or not out.parent.is_dir()):
        why = "is there already" if out.exists() else "is no new file NAME.toml in a folder that exists"
        raise InputError(f"--out: {out} {why}; name a new one, such as {folder / f'{category}_entendues.toml'}")
    cases = [case for case in known.cases if case.category == category]
    made = mishear_all(cases, taken=[case.text for case in known.cases])
    try:
        drawn = draw_misheard(made, number, seed)
    except ValueError as error:
        raise InputError(f"--n: {error} of the {len(cases)} prompts of '{category}'; ask for fewer") from None
    name = out.stem if out is not None else f"{category}_entendues"
    text = _document(category, seed, drawn)
    _check(text, name, known)
    if out is None:
        say(text.rstrip(), sys.stdout)
    else:
        try:
            write_atomically(out, text.encode())
        except OSError as error:
            raise InputError(f"--out: {out}: cannot be written: {error.strerror or error}") from None
        say(written(str(out)), sys.stdout)
    return 0


def _document(category: str, seed: int, drawn: Sequence[MisheardPrompt]) -> str:
    """Return the category's file; its strings are written as JSON has them, which TOML reads alike."""
    from pytest_jarvis.render.french.session import misheard_description, misheard_label

    lines = [
        f"label = {_quoted(misheard_label(category))}",
        f"description = {_quoted(misheard_description(category, seed))}",
    ]
    counts: dict[str, int] = {}
    for one in drawn:
        case = one.source
        counts[case.prompt_id] = counts.get(case.prompt_id, 0) + 1
        lines += [
            "",
            "[[prompts]]",
            f"id = {_quoted(f'{case.prompt_id}-s{seed}-{counts[case.prompt_id]:03}')}",
            f"text = {_quoted(one.text)}",
            f"intended = {_quoted(one.meant)}",
            f"keywords = [{', '.join(map(_quoted, case.keywords))}]",
            *([f"expected_tool = {_quoted(case.expected_tool)}"] if case.expected_tool else []),
            *([f"expected_arguments = {_inline(case.expected_arguments)}"] if case.expected_arguments else []),
            *(["no_tool = true"] if case.no_tool else []),
            f"note = {_quoted(', '.join(one.mistakes))}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _inline(value: object) -> str:
    """Return a value that TOML read, written on one line."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_quoted(key)} = {_inline(one)}' for key, one in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _check(text: str, name: str, known: PromptSet) -> None:
    """Load the file beside the others, as a session would; InputError for an id that is taken, say."""
    from pytest_jarvis.inputs.prompts import load_prompts

    with tempfile.TemporaryDirectory() as copied:
        for path in known.folder.glob("*.toml"):
            shutil.copy(path, copied)
        (Path(copied) / f"{name}.toml").write_text(text, encoding="utf-8")
        try:
            load_prompts(Path(copied))
        except InputError as error:
            said = str(error).replace(str(Path(copied)), str(known.folder))
            raise InputError(f"what would be generated is no category of {known.folder}: {said}") from None
