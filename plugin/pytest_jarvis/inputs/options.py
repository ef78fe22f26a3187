"""The command line of the plugin: its options, what each takes, and whether any is given."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    pass


PREFIX: Final = "--jarvis"


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


def is_given(value: object) -> bool:
    """Whether an option has a value of its own: a flag that is not set, or an empty list, has none; 0 is one."""
    return value is not None and value is not False and value != []


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
