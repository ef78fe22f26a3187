"""The command line of the plugin: its options, what each takes, and whether any is given."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def add_options(parser: pytest.Parser) -> None:
    """Declare the options of the group `jarvis`."""
    declare(parser.getgroup("jarvis", "JARVIS benchmark: a base model against its LoRA fine-tunes").addoption)


def declare(add: Callable[..., object]) -> None:
    """Declare every option by `add`, which takes what `argparse.ArgumentParser.add_argument` takes."""
    add("--jarvis-report", action="store_true", help="judge the gain and write the report under reports/<run>/")
    add(
        "--jarvis-report-dir",
        metavar="DIR",
        help="write the report in exactly this new folder (implies --jarvis-report)",
    )
    add("--jarvis-config", metavar="FILE", help="configuration file (default: benchmark_config.json beside pytest.ini)")
    add("--jarvis-model", metavar="ID", help="base model: a folder, a hub id, or 'demo', the embedded one")
    add(
        "--jarvis-adapter",
        metavar="[NAME=]PATH",
        action="append",
        default=[],
        help="LoRA adapter to compare with the base: a folder, demo:NAME, auto (the newest under the configured "
        "folders), or the name a server has for it; may be given several times",
    )
    add(
        "--jarvis-engine",
        metavar="NAME",
        help="what runs the models: transformers (default), server (OpenAI-compatible), scripted (fake)",
    )
    add(
        "--jarvis-base-url",
        metavar="URL",
        help="address of the server, for --jarvis-engine server (such as http://localhost:8000/v1)",
    )
    add("--jarvis-concurrency", metavar="N", type=_positive, help="requests to the server at once (default: 32)")
    add(
        "--jarvis-replay",
        metavar="REPORT.json",
        help="score, judge and report the responses of a saved report again: no model is loaded",
    )
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
        type=_positive,
        help="responses per prompt and arm, fixed (default: looks of 4, 8 and 16)",
    )
    add(
        "--jarvis-gate",
        choices=("proven", "point", "off"),
        help="proven (default): the gain must be shown; point: its estimate; off",
    )
    add(
        "--jarvis-min-gain", metavar="PERCENT", type=_percent, help="relevance gain asked for, in per cent (default: 5)"
    )
    add(
        "--jarvis-inconclusive",
        choices=("fail", "warn"),
        help="exit status of an inconclusive gate: 1 (fail, default) or 0 (warn)",
    )
    add(
        "--jarvis-require",
        choices=("any", "all", "first"),
        help="which adapters must pass (default: the first named)",
    )
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
    add("--jarvis-strict", action="store_true", help="exit 1 when the gate cannot judge, as with -k or failures")
    add(
        "--jarvis-aa",
        action="store_true",
        help="run the base against itself with noise of its own: the noise floor of each metric",
    )
    add("--jarvis-seed", metavar="N", type=_natural, help="seed of all sampling (default: 0)")
    add(
        "--jarvis-batch-size",
        metavar="N",
        type=_positive,
        help="rows generated at once (default: chosen from the free memory)",
    )
    add("--jarvis-max-new-tokens", metavar="N", type=_positive, help="longest response, in tokens (default: 128)")
    add(
        "--jarvis-timeout",
        metavar="SECONDS",
        type=_seconds,
        help="longest generation of a response; 0 for none (default: 30)",
    )
    add("--jarvis-template", choices=("chat", "raw"), help="chat (default): the model's template; raw: the bare prompt")
    add(
        "--jarvis-allow-partial-4bit",
        action="store_true",
        help="go on when less than 95 %% of the weights are in 4 bits",
    )
    add("--jarvis-allow-inert-adapter", action="store_true", help="go on when an adapter changes nothing")


def is_asked_for(config: pytest.Config) -> bool:
    """Whether any option of the group is set, on the command line, in `addopts` or in `PYTEST_ADDOPTS`."""
    given = {name: value for name, value in vars(config.option).items() if name.startswith("jarvis_")}
    return any(value not in (None, False, []) for name, value in given.items())


def _positive(text: str) -> int:
    return _whole(text, 1)


def _natural(text: str) -> int:
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
