"""Command-line options: one table, from which pytest's options and those of `pytest-jarvis` are declared."""

import argparse
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

PREFIX: Final = "--jarvis"


def one_of(*choices: str) -> Callable[[str], str]:
    """Return an argparse type that accepts only `choices`."""

    def read(text: str) -> str:
        if text not in choices:
            from pytest_jarvis.files import suggest  # only for a message

            hint = suggest(text, choices, otherwise="; give one of them, or leave the option out")
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(choices)}, found {text!r}{hint}")
        return text

    return read


def usable(text: str) -> str:
    """Return a text that can be a name, a path or an address; argparse shows the error."""
    from pytest_jarvis.files import text_fault  # options are declared in every session

    if fault := text_fault(text):
        raise argparse.ArgumentTypeError(fault)
    return text


def positive(text: str) -> int:
    """Return a whole number from 1; argparse shows the error."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """Return a whole number from 0; argparse shows the error."""
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


class Option(NamedTuple):
    """One command-line option; without `metavar` and `choices` it is a flag."""

    flag: str
    key: str | None = None
    """Key of the configuration that it overrides: `generation.seed`."""
    help: str = ""
    metavar: str | None = None
    """Placeholder of the value in the help."""
    type: Callable[[str], object] = usable
    choices: tuple[str, ...] = ()
    generation: bool = False
    """Whether it changes the responses: a replay, whose responses exist already, rejects it."""
    repeats: bool = False
    """Whether it may be repeated; its value is a list."""
    verbatim: bool = True
    """Whether its value replaces that of its key unchanged; others are interpreted where they are used."""

    @property
    def name(self) -> str:
        """Attribute of the parsed arguments: `jarvis_seed`."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `argparse.ArgumentParser.add_argument`."""
        if self.choices:
            return {"metavar": f"{{{','.join(self.choices)}}}", "type": one_of(*self.choices), "help": self.help}
        if self.metavar is None:
            return {"action": "store_true", "help": self.help}
        repeated = {"action": "append", "default": []} if self.repeats else {}
        return {"metavar": self.metavar, "type": self.type, "help": self.help, **repeated}


# fmt: off
OPTIONS: Final = (
    # Mode.
    Option("--jarvis-report", help="judge the gain, and write a report under reports/<run>/"),
    Option("--jarvis-report-dir", metavar="DIR",
           help="write the report to this new folder; implies --jarvis-report"),
    Option("--jarvis-reuse", generation=True,
           help="reuse stored responses of earlier --jarvis-report runs, and generate only the others"),
    Option("--jarvis-config", metavar="FILE",
           help="configuration file (default: benchmark_config.json beside pytest.ini)"),
    Option("--jarvis-replay", metavar="REPORT.json",
           help="score and judge the responses of a saved report again, without a model"),
    Option("--jarvis-answers", metavar="ANSWERS.jsonl", generation=True,
           help="score and judge answers made elsewhere: JSON Lines or CSV with prompt_id, arm (base, or an adapter's "
                "name) and text; optional: replicate"),
    # Models.
    Option("--jarvis-model", "model.base_model_id", metavar="ID", generation=True,
           help="base model: a folder, a hub id, a server's name for it, or demo, the embedded one (default: demo); "
                "a path needs the equals sign where no folder of tests is named: --jarvis-model=PATH"),
    Option("--jarvis-adapter", "model.adapters", metavar="[NAME=]PATH", generation=True, repeats=True, verbatim=False,
           help="LoRA adapter to compare with the base: a folder, demo:NAME, auto (the newest under the configured "
                "folders), or a server's name for it; may be repeated"),
    Option("--jarvis-aa", generation=True,
           help="A/A run, the base against itself: measures the noise floor of each metric"),
    Option("--jarvis-engine", metavar="NAME", generation=True,
           help="engine: transformers, server (OpenAI-compatible), scripted (made-up responses), or an installed "
                "one (default: transformers)"),
    Option("--jarvis-base-url", "model.base_url", metavar="URL", generation=True,
           help="address of the server, for --jarvis-engine server (such as http://localhost:8000/v1)"),
    Option("--jarvis-concurrency", "model.concurrency", metavar="N", type=positive, generation=True,
           help="concurrent requests to the server (default: 32)"),
    Option("--jarvis-allow-partial-4bit", "model.allow_partial_4bit", generation=True,
           help="run even if less than 95 %% of the weights are in 4 bits"),
    Option("--jarvis-plain-gpu", "model.plain_gpu", generation=True,
           help="on a GPU, dequantise experts at every step and use no CUDA graph: slower, to rule out both"),
    Option("--jarvis-allow-inert-adapter", "model.allow_inert_adapter", generation=True,
           help="run even if an adapter changes nothing"),
    # Prompts and generation.
    Option("--jarvis-prompts", "benchmark.prompts", metavar="DIR", verbatim=False,
           help="folder of prompt files (default: those of the checkout or package)"),
    Option("--jarvis-guards", "benchmark.guards",
           help="add prompts whose right answer asks back, refuses, does nothing, or does two things"),
    Option("--jarvis-training-data", "benchmark.training_data", metavar="FILE", repeats=True, verbatim=False,
           help="training data of an adapter: prompts found in it are marked, and not judged; may be repeated"),
    Option("--jarvis-samples", "benchmark.samples", metavar="N", type=positive,
           help="fixed number of responses per prompt and arm (default: looks of 4, 8 and 16)"),
    Option("--jarvis-seed", "generation.seed", metavar="N", type=natural, generation=True,
           help="seed of all sampling, from 0 (default: 0)"),
    Option("--jarvis-batch-size", "generation.batch_size", metavar="N", type=positive, generation=True,
           help="rows of a batch (default: chosen by the free memory)"),
    Option("--jarvis-max-new-tokens", "generation.max_new_tokens", metavar="N", type=positive, generation=True,
           help="longest response, in tokens (default: 128)"),
    Option("--jarvis-timeout", "generation.timeout_s", metavar="SECONDS", type=_seconds, generation=True,
           help="longest generation of a response; 0: no limit (default: 30)"),
    Option("--jarvis-tools", "generation.tools", generation=True,
           help="offer the tools to the model, judge its calls, and add prompts that need no tool"),
    Option("--jarvis-template", "generation.template", choices=("chat", "raw", "adapter"), generation=True,
           help="chat: the model's chat template; raw: the bare prompt; adapter: the adapter's own template, "
                "for every arm (default: chat)"),
    # Gate.
    Option("--jarvis-gate", "benchmark.gate", choices=("proven", "point", "off"),
           help="judge the proven gain (proven), its estimate (point) or nothing (off) (default: proven)"),
    Option("--jarvis-min-gain", "benchmark.min_gain_percent", metavar="PERCENT", type=_percent,
           help="least gain of relevance, in per cent (default: 5)"),
    Option("--jarvis-inconclusive", "benchmark.inconclusive", choices=("fail", "warn"),
           help="exit status of an inconclusive gate: 1 (fail) or 0 (warn) (default: fail)"),
    Option("--jarvis-unjudged", "benchmark.unjudged", choices=("fail", "warn"),
           help="exit status when a run of all prompts cannot be judged: 1 (fail) or 0 (warn) (default: fail)"),
    Option("--jarvis-require", "benchmark.require", choices=("any", "all", "first"),
           help="which adapters must pass, where there are several (default: first)"),
    Option("--jarvis-strict", "benchmark.strict", help="exit 1 when the gate cannot judge, also with -k or -m"),
    Option("--jarvis-compare", metavar="REPORT.json|last",
           help="test the candidate for regressions against a saved run; last: the baseline, else the newest "
                "comparable report"),
    Option("--jarvis-fail-on-regression", help="exit 1 when --jarvis-compare proves a regression"),
)
# fmt: on
"""Every option, in the order of the help. A new one needs a row here, its key in `config`, and its use."""


def declare(add: Callable[..., object]) -> None:
    """Declare every option by `add`, which has the signature of `argparse.ArgumentParser.add_argument`."""
    for option in OPTIONS:
        add(option.flag, **option.arguments)


def options_in(values: argparse.Namespace) -> list[tuple[Option, Any]]:
    """Return the options on the command line with their values, 0 included; undeclared options count as absent."""
    found = [(option, getattr(values, option.name, None)) for option in OPTIONS]
    return [(option, value) for option, value in found if value is not None and value is not False and value != []]
