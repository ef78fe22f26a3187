"""The options of the command line: one table, of which pytest's and those of `pytest-jarvis` are declared."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

PREFIX: Final = "--jarvis"


def one_of(*choices: str) -> Callable[[str], str]:
    """Return what reads one of a few words; argparse shows the message of another one."""

    def read(text: str) -> str:
        if text not in choices:
            from pytest_jarvis.files import suggest  # only for a message

            hint = suggest(text, choices, otherwise="; give one of them, or leave the option out")
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(choices)}, found {text!r}{hint}")
        return text

    return read


def positive(text: str) -> int:
    """Return a whole number from 1; argparse shows the message of a wrong one."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """Return a whole number from 0; argparse shows the message of a wrong one."""
    return _whole(text, 0)


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


@dataclass(frozen=True, slots=True)
class Option:
    """One option of the command line; with neither `metavar` nor `choices` it is a flag, true when given."""

    flag: str
    key: str | None = None
    """Section and key of the configuration that it overrides: `generation.seed`."""
    help: str = ""
    metavar: str | None = None
    """What stands for the value in the help."""
    type: Callable[[str], object] = str
    choices: tuple[str, ...] = ()
    draws: bool = False
    """Whether it says what answers or how responses are drawn: a replay, whose responses are drawn, refuses it."""
    repeats: bool = False
    """Whether it may be given several times; its values are a list."""
    as_in_file: bool = True
    """Whether its value replaces that of its key as it stands; another is read where it is used."""

    @property
    def name(self) -> str:
        """The attribute of parsed arguments: `jarvis_seed`."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def arguments(self) -> dict[str, Any]:
        """What `argparse.ArgumentParser.add_argument` takes beside the flag."""
        if self.choices:
            return {"metavar": f"{{{','.join(self.choices)}}}", "type": one_of(*self.choices), "help": self.help}
        if self.metavar is None:
            return {"action": "store_true", "help": self.help}
        repeated = {"action": "append", "default": []} if self.repeats else {}
        return {"metavar": self.metavar, "type": self.type, "help": self.help, **repeated}


# A table is read by its rows.
# fmt: off
OPTIONS: Final = (
    # What to do.
    Option("--jarvis-report", help="judge the gain, and write the report under reports/<run>/"),
    Option("--jarvis-report-dir", metavar="DIR",
           help="write the report in exactly this new folder; implies --jarvis-report"),
    Option("--jarvis-reuse", draws=True,
           help="take every response that an earlier --jarvis-report drew from the store, and draw only the others"),
    Option("--jarvis-config", metavar="FILE",
           help="configuration file (default: benchmark_config.json beside pytest.ini)"),
    Option("--jarvis-replay", metavar="REPORT.json",
           help="score, judge and report the responses of a saved report again: no model is loaded"),
    # What is compared.
    Option("--jarvis-model", "model.base_model_id", metavar="ID", draws=True,
           help="base model: a folder, a hub id, a server's name for it, or demo, the embedded one (default: demo); "
                "where no folder of tests is named, a path needs the equals sign: --jarvis-model=PATH"),
    Option("--jarvis-adapter", "model.adapters", metavar="[NAME=]PATH", draws=True, repeats=True, as_in_file=False,
           help="LoRA adapter to compare with the base: a folder, demo:NAME, auto (the newest under the configured "
                "folders), or the name a server has for it; may be given several times"),
    Option("--jarvis-aa", draws=True,
           help="run the base against itself with noise of its own: the noise floor of each metric"),
    Option("--jarvis-engine", metavar="NAME", draws=True,
           help="what answers: transformers, server (OpenAI-compatible), scripted (made up), or one that is "
                "installed (default: transformers)"),
    Option("--jarvis-base-url", "model.base_url", metavar="URL", draws=True,
           help="address of the server, for --jarvis-engine server (such as http://localhost:8000/v1)"),
    Option("--jarvis-concurrency", "model.concurrency", metavar="N", type=positive, draws=True,
           help="requests to the server at once (default: 32)"),
    Option("--jarvis-allow-partial-4bit", "model.allow_partial_4bit", draws=True,
           help="go on when less than 95 %% of the weights are in 4 bits"),
    Option("--jarvis-plain-gpu", "model.plain_gpu", draws=True,
           help="on a GPU, read experts out of 4 bits at every step and record no CUDA graph: slower, to rule both "
                "out"),
    Option("--jarvis-allow-inert-adapter", "model.allow_inert_adapter", draws=True,
           help="go on when an adapter changes nothing"),
    # What is asked, and how responses are drawn.
    Option("--jarvis-prompts", "benchmark.prompts", metavar="DIR", as_in_file=False,
           help="folder of prompt files (default: those of the checkout or package)"),
    Option("--jarvis-training-data", "benchmark.training_data", metavar="FILE", repeats=True, as_in_file=False,
           help="data an adapter was trained on: prompts found in it are marked, and judged without; may be "
                "repeated"),
    Option("--jarvis-samples", "benchmark.samples", metavar="N", type=positive,
           help="responses per prompt and arm, fixed (default: looks of 4, 8 and 16)"),
    Option("--jarvis-seed", "generation.seed", metavar="N", type=natural, draws=True,
           help="seed of all sampling, from 0 (default: 0)"),
    Option("--jarvis-batch-size", "generation.batch_size", metavar="N", type=positive, draws=True,
           help="rows generated at once (default: chosen from the free memory)"),
    Option("--jarvis-max-new-tokens", "generation.max_new_tokens", metavar="N", type=positive, draws=True,
           help="longest response, in tokens (default: 128)"),
    Option("--jarvis-timeout", "generation.timeout_s", metavar="SECONDS", type=_seconds, draws=True,
           help="longest generation of a response; 0: no limit (default: 30)"),
    Option("--jarvis-tools", "generation.tools", draws=True,
           help="offer the tools for the model to call, judge its calls, and add prompts that want none"),
    Option("--jarvis-template", "generation.template", choices=("chat", "raw"), draws=True,
           help="chat: the model's template; raw: the bare prompt (default: chat)"),
    # What is judged.
    Option("--jarvis-gate", "benchmark.gate", choices=("proven", "point", "off"),
           help="proven: the gain must be shown; point: its estimate counts; off: nothing is judged (default: "
                "proven)"),
    Option("--jarvis-min-gain", "benchmark.min_gain_percent", metavar="PERCENT", type=_percent,
           help="relevance gain asked for, in per cent (default: 5)"),
    Option("--jarvis-inconclusive", "benchmark.inconclusive", choices=("fail", "warn"),
           help="exit status when the gate settles nothing: 1 (fail) or 0 (warn) (default: fail)"),
    Option("--jarvis-require", "benchmark.require", choices=("any", "all", "first"),
           help="which adapters must pass where there are several (default: first)"),
    Option("--jarvis-strict", "benchmark.strict", help="exit 1 when the gate cannot judge, as with -k or failures"),
    Option("--jarvis-compare", metavar="REPORT.json|last",
           help="hold the candidate against a saved run; last: the baseline, else the newest comparable report"),
    Option("--jarvis-fail-on-regression", help="exit 1 when --jarvis-compare proves that the candidate got worse"),
)
# fmt: on
"""Every option, in the order of the help. A new one is a row here, its key in `config`, and its use."""


def declare(add: Callable[..., object]) -> None:
    """Declare every option by `add`, which takes what `argparse.ArgumentParser.add_argument` takes."""
    for option in OPTIONS:
        add(option.flag, **option.arguments)


def given(values: argparse.Namespace) -> list[tuple[Option, Any]]:
    """Return the options that have a value of their own, with it: no flag that is not set, and no empty list; 0 is one.

    An option that was not declared is not given.
    """
    found = [(option, getattr(values, option.name, None)) for option in OPTIONS]
    return [(option, value) for option, value in found if value is not None and value is not False and value != []]
