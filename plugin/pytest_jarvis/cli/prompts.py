"""Commands on prompts: `contamination` finds them in training data, `prompts generate` derives misheard ones."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_jarvis.cli.common import Commands, add_prompts_option, print_line, print_lines, prompts_folder
from pytest_jarvis.files import InputError, suggest, write_atomically
from pytest_jarvis.inputs.options import natural, positive
from pytest_jarvis.render.french.words import word

if TYPE_CHECKING:
    from pytest_jarvis.inputs.misheard import MisheardPrompt


def add(commands: Commands) -> None:
    """Add the command and its part."""
    command = commands.add_parser("prompts", help="derive prompts from others")
    parts = command.add_subparsers(metavar="generate", required=True)
    generate = parts.add_parser("generate", help="derive misheard prompts from a category by French phonetics")
    generate.add_argument("--from", metavar="CATEGORY", dest="category", required=True, help="the clean prompts")
    generate.add_argument("--n", metavar="N", type=positive, default=200, help="number of prompts (default: 200)")
    generate.add_argument("--seed", metavar="N", type=natural, default=0, help="seed of the choice (default: 0)")
    generate.add_argument(
        "--out", metavar="FILE.toml", type=Path, help="new file, whose name is the category (default: print it)"
    )
    add_prompts_option(generate)
    generate.set_defaults(run=generate_prompts)


def generate_prompts(options: argparse.Namespace) -> int:
    """Write or print a category of misheard prompts; raise InputError when the rules give fewer than `--n`."""
    from pytest_jarvis.inputs.misheard import draw_misheard, mishear_all
    from pytest_jarvis.inputs.prompts import load_prompts

    folder = prompts_folder(options)
    category: str = options.category
    out: Path | None = options.out
    known = load_prompts(folder)
    names = [one.name for one in known.categories]
    if category not in names:
        raise InputError(f"--from: no file '{category}.toml' in {folder}{suggest(category, names)}")
    name = f"{category}_entendues" if out is None else out.stem
    if out is not None and (out.exists() or out.suffix != ".toml" or not out.parent.is_dir()):
        why = "is there already" if out.exists() else "is no new file NAME.toml in a folder that exists"
        raise InputError(f"--out: {out} {why}; name a new one, such as {folder / f'{category}_entendues.toml'}")
    cases = [case for case in known.cases if case.category == category]
    variants = mishear_all(cases, taken=[case.text for case in known.cases])
    try:
        drawn = draw_misheard(variants, options.n, options.seed)
    except ValueError as error:
        raise InputError(f"--n: {error} of the {len(cases)} prompts of '{category}'; ask for fewer") from None
    text = _document(category, options.seed, drawn)
    _check(text, name, folder)
    if out is None:
        print_line(text.rstrip())
        return 0
    try:
        write_atomically(out, text.encode())
    except OSError as error:
        raise InputError(f"--out: {out}: cannot be written: {error.strerror or error}") from None
    print_line(word("labels.written", file=str(out)))
    return 0


def _document(category: str, seed: int, drawn: Sequence[MisheardPrompt]) -> str:
    """Return the category's TOML; its strings are JSON, which TOML reads alike."""
    label = word("session.misheard_label", category=category.replace("_", " ").capitalize())
    description = word("session.misheard_description", category=category, seed=seed)
    lines = [f"label = {_inline(label)}", f"description = {_inline(description)}"]
    counts: dict[str, int] = {}
    for prompt in drawn:
        case = prompt.source
        counts[case.prompt_id] = counts.get(case.prompt_id, 0) + 1
        lines += [
            "",
            "[[prompts]]",
            f"id = {_inline(f'{case.prompt_id}-s{seed}-{counts[case.prompt_id]:03}')}",
            f"text = {_inline(prompt.text)}",
            f"intended = {_inline(prompt.meant)}",
            f"keywords = {_inline(case.keywords)}",
            *([f"expected_tool = {_inline(case.expected_tool)}"] if case.expected_tool else []),
            *([f"expected_arguments = {_inline(case.expected_arguments)}"] if case.expected_arguments else []),
            *([f"target = {_inline(case.target)}"] if case.target else []),
            *([f"also = {_inline(case.also)}"] if case.also else []),
            *([f"right_deed = {_inline(case.right_deed)}"] if case.no_tool else []),
            f"note = {_inline(', '.join(prompt.mistakes))}",
        ]
    return "\n".join(lines) + "\n"


def _inline(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_inline(key)} = {_inline(item)}' for key, item in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _check(text: str, name: str, folder: Path) -> None:
    """Load the category beside the others, as a session would; raise InputError for an id that is taken, say."""
    from pytest_jarvis.inputs.prompts import load_prompts

    with tempfile.TemporaryDirectory() as copied:
        for path in folder.glob("*.toml"):
            shutil.copy(path, copied)
        (Path(copied) / f"{name}.toml").write_text(text, encoding="utf-8")
        try:
            load_prompts(Path(copied))
        except InputError as error:
            fault = str(error).replace(str(Path(copied)), str(folder))
            raise InputError(f"what would be generated is no category of {folder}: {fault}") from None


def add_contamination(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "contamination", help="find the benchmark's prompts, or near copies, in training data; exit status 1 if any"
    )
    command.add_argument(
        "files", metavar="TRAIN.jsonl", type=Path, nargs="+", help="training data: JSONL, JSON or plain text"
    )
    add_prompts_option(command)
    command.add_argument("--json", action="store_true", help="print JSON instead")
    command.set_defaults(run=find_contamination)


def find_contamination(options: argparse.Namespace) -> int:
    """Print where the benchmark's prompts occur in the files; return 1 when any does, else 0."""
    from pytest_jarvis.inputs.contamination import search_training_data
    from pytest_jarvis.inputs.prompts import load_prompts
    from pytest_jarvis.render.french.explanations import leak_lines

    # With the prompts that options add: training data is searched once, whatever is benchmarked later.
    cases = load_prompts(prompts_folder(options), add=("with_tools", "guards")).cases
    found = search_training_data(cases, options.files)
    if options.json:
        print_line(msgspec.json.encode(found).decode())
    else:
        print_lines(leak_lines(found, {case.prompt_id: case.text for case in cases}))
    return int(bool(found.leaks))
