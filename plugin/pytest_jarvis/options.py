"""The command line of the plugin: its options, what each takes, and whether any is given."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pytest

_PREFIX: Final = "--jarvis"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """Stands for the value of an option that cannot be used, until it is said."""

    option: str
    why: str
    """What was expected, what was found, and what to do."""


def add_options(parser: pytest.Parser) -> None:
    """Declare the options of the group `jarvis`.

    A value that cannot be used is kept as such and said by `refuse_values`: argparse would print the usage of all of
    pytest before the sentence.
    """
    title = "JARVIS benchmark: a base model against its LoRA fine-tunes (options override benchmark_config.json)"
    group = parser.getgroup("jarvis", title)

    def add(name: str, **settings: Any) -> None:
        kind, choices = settings.pop("type", str), settings.pop("choices", ())
        if choices:
            settings["metavar"] = f"{{{','.join(choices)}}}"
        if choices or kind is not str:
            settings["type"] = partial(_read, name, kind, choices)
        group.addoption(name, **settings)

    declare(add)


def declare(add: Callable[..., object]) -> None:
    """Declare every option by `add`, which takes what `argparse.ArgumentParser.add_argument` takes.

    In the order of the help: what to do, what is compared, how responses are drawn, what is judged.
    """
    _declare_run(add)
    _declare_models(add)
    _declare_drawing(add)
    _declare_gate(add)


def _declare_run(add: Callable[..., object]) -> None:
    """Declare what to do."""
    add("--jarvis-report", action="store_true", help="judge the gain, and write the report under reports/<run>/")
    add(
        "--jarvis-report-dir",
        metavar="DIR",
        help="write the report in exactly this new folder; implies --jarvis-report",
    )
    add(
        "--jarvis-reuse",
        action="store_true",
        help="take every response that an earlier --jarvis-report drew from the store, and draw only the others",
    )
    add("--jarvis-config", metavar="FILE", help="configuration file (default: benchmark_config.json beside pytest.ini)")
    add(
        "--jarvis-replay",
        metavar="REPORT.json",
        help="score, judge and report the responses of a saved report again: no model is loaded",
    )


def _declare_models(add: Callable[..., object]) -> None:
    """Declare what is compared."""
    add(
        "--jarvis-model",
        metavar="ID",
        help="base model: a folder, a hub id, a server's name for it, or demo, the embedded one (default: demo); "
        "where no folder of tests is named, a path needs the equals sign: --jarvis-model=PATH",
    )
    add(
        "--jarvis-adapter",
        metavar="[NAME=]PATH",
        action="append",
        default=[],
        help="LoRA adapter to compare with the base: a folder, demo:NAME, auto (the newest under the configured "
        "folders), or the name a server has for it; may be given several times",
    )
    add(
        "--jarvis-aa",
        action="store_true",
        help="run the base against itself with noise of its own: the noise floor of each metric",
    )
    add(
        "--jarvis-engine",
        metavar="NAME",
        help="what answers: transformers, server (OpenAI-compatible), scripted (made up) (default: transformers)",
    )
    add(
        "--jarvis-base-url",
        metavar="URL",
        help="address of the server, for --jarvis-engine server (such as http://localhost:8000/v1)",
    )
    add("--jarvis-concurrency", metavar="N", type=positive, help="requests to the server at once (default: 32)")
    add(
        "--jarvis-allow-partial-4bit",
        action="store_true",
        help="go on when less than 95 %% of the weights are in 4 bits",
    )
    add(
        "--jarvis-plain-gpu",
        action="store_true",
        help="on a GPU, read experts out of 4 bits at every step and record no CUDA graph: slower, to rule both out",
    )
    add("--jarvis-allow-inert-adapter", action="store_true", help="go on when an adapter changes nothing")


def _declare_drawing(add: Callable[..., object]) -> None:
    """Declare what is asked, and how responses are drawn."""
    add("--jarvis-prompts", metavar="DIR", help="folder of prompt files (default: those of the checkout or package)")
    add(
        "--jarvis-training-data",
        metavar="FILE",
        action="append",
        default=[],
        help="data an adapter was trained on: prompts found in it are marked, and judged without; may be repeated",
    )
    add(
        "--jarvis-samples",
        metavar="N",
        type=positive,
        help="responses per prompt and arm, fixed (default: looks of 4, 8 and 16)",
    )
    add("--jarvis-seed", metavar="N", type=natural, help="seed of all sampling, from 0 (default: 0)")
    add(
        "--jarvis-batch-size",
        metavar="N",
        type=positive,
        help="rows generated at once (default: chosen from the free memory)",
    )
    add("--jarvis-max-new-tokens", metavar="N", type=positive, help="longest response, in tokens (default: 128)")
    add(
        "--jarvis-timeout",
        metavar="SECONDS",
        type=_seconds,
        help="longest generation of a response; 0: no limit (default: 30)",
    )
    add(
        "--jarvis-tools",
        action="store_true",
        help="offer the tools for the model to call, judge its calls, and add prompts that want none",
    )
    add(
        "--jarvis-template",
        choices=("chat", "raw"),
        help="chat: the model's template; raw: the bare prompt (default: chat)",
    )


def _declare_gate(add: Callable[..., object]) -> None:
    """Declare what is judged."""
    add(
        "--jarvis-gate",
        choices=("proven", "point", "off"),
        help="proven: the gain must be shown; point: its estimate counts; off: nothing is judged (default: proven)",
    )
    add(
        "--jarvis-min-gain", metavar="PERCENT", type=_percent, help="relevance gain asked for, in per cent (default: 5)"
    )
    add(
        "--jarvis-inconclusive",
        choices=("fail", "warn"),
        help="exit status when the gate settles nothing: 1 (fail) or 0 (warn) (default: fail)",
    )
    add(
        "--jarvis-require",
        choices=("any", "all", "first"),
        help="which adapters must pass where there are several (default: first)",
    )
    add("--jarvis-strict", action="store_true", help="exit 1 when the gate cannot judge, as with -k or failures")
    add(
        "--jarvis-compare",
        metavar="REPORT.json|last",
        help="hold the candidate against a saved run; last: the baseline, else the newest comparable report",
    )
    add(
        "--jarvis-fail-on-regression",
        action="store_true",
        help="exit 1 when --jarvis-compare proves that the candidate got worse",
    )


def is_asked_for(config: pytest.Config) -> bool:
    """Whether any option of the group is set, on the command line, in `addopts` or in `PYTEST_ADDOPTS`."""
    return any(is_given(value) for name, value in vars(config.option).items() if name.startswith("jarvis_"))


def refuse_values(config: pytest.Config) -> None:
    """Raise pytest.UsageError for the first option of the group whose value cannot be used."""
    import pytest

    refused = next((value for value in vars(config.option).values() if isinstance(value, _Refused)), None)
    if refused is None:
        return
    words = [str(word).partition("=")[0] for word in config.invocation_params.args]
    where = "" if refused.option in words else " (of addopts or PYTEST_ADDOPTS)"
    raise pytest.UsageError(f"{refused.option}{where}: {refused.why}")


def refuse_unknown(parser: pytest.Parser, arguments: list[str]) -> None:
    """Raise pytest.UsageError for an option that begins as those of the group do, and that nothing has declared."""
    if not any(word.startswith(_PREFIX) for word in arguments) or {"-h", "--help"}.intersection(arguments):
        return
    _, unknown = parser.parse_known_and_unknown_args(arguments)
    word = next((word.partition("=")[0] for word in unknown if word.startswith(_PREFIX)), None)
    if word is None:
        return
    import pytest

    known: list[str] = []
    declare(lambda name, **_: known.append(name.removeprefix(_PREFIX)))
    said = (
        _close(word.removeprefix(_PREFIX), known, _PREFIX)
        or "; 'pytest --help' lists those there are, under JARVIS benchmark"
    )
    raise pytest.UsageError(f"{word}: there is no such option{said}")


def refuse_other_root(config: pytest.Config) -> None:
    """Raise pytest.UsageError where pytest took the value of an option of the group for what is to be tested.

    It looks for its configuration beside every argument that is a path, before it knows any option of a plugin: without
    a path to tests, a model's folder as a word of its own then decides, and the project's own settings are not read.
    """
    import pytest

    option, here = config.option, config.invocation_params.dir
    if option.file_or_dir or option.inifilename or hasattr(config, "workerinput"):
        return
    words = [str(word) for word in config.invocation_params.args]
    taken = [
        (word, value)
        for word, value in pairwise(words)
        if word.startswith("--jarvis-") and "=" not in word and not value.startswith("-") and (here / value).exists()
    ]
    found = config.inipath is not None and here.is_relative_to(config.inipath.parent)
    if taken and not found and any(map(_configures_pytest, (here, *here.parents))):
        word, value = taken[0]
        raise pytest.UsageError(
            f"pytest takes the value of {word} for what is to be tested, and does not read the configuration of "
            f"{here}; write {word}={value}, with an equals sign, or name the folder of the tests"
        )


def _configures_pytest(folder: Path) -> bool:
    project = folder / "pyproject.toml"
    return (folder / "pytest.ini").is_file() or (project.is_file() and b"[tool.pytest" in project.read_bytes())


def is_given(value: object) -> bool:
    """Whether an option has a value of its own: a flag that is not set, or an empty list, has none; 0 is one."""
    return value is not None and value is not False and value != []


def positive(text: str) -> int:
    """Return a whole number from 1; argparse shows the message of a wrong one."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """Return a whole number from 0; argparse shows the message of a wrong one."""
    return _whole(text, 0)


def _read(option: str, kind: Callable[[str], object], choices: Sequence[str], text: str) -> object:
    """Return the value of an option, or what stands for one that cannot be used."""
    if choices and text not in choices:
        expected = f"expected one of {', '.join(choices)}, found {text!r}"
        said = _close(text, choices) or "; give one of them, or leave the option out"
        return _Refused(option=option, why=f"{expected}{said}")
    try:
        return kind(text)
    except argparse.ArgumentTypeError as error:
        return _Refused(option=option, why=f"{error}; give such a value, or leave the option out")


def _close(word: str, known: Sequence[str], prefix: str = "") -> str | None:
    """Return a closing "did you mean ...?", with the prefix that all have; None when nothing is close."""
    import difflib  # only for a message

    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{prefix}{close[0]}'?" if close else None


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least}, found {text!r}")
    return value


def _percent(text: str) -> float:
    return _number(text.removesuffix("%").strip().replace(",", "."), text, "a percentage such as 5", -100)


def _seconds(text: str) -> float:
    return _number(text, text, "seconds such as 30, or 0 for none", 0)


def _number(text: str, shown: str, expected: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        raise argparse.ArgumentTypeError(f"expected {expected}, found {shown!r}")
    return value
