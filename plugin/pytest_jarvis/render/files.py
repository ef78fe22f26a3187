"""The files that are made of a report: written whole or not at all, each on its own, none of them fatal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from pytest_jarvis.files import write_atomically
from pytest_jarvis.inputs.config import FILES, Format
from pytest_jarvis.render.french import labels, printable
from pytest_jarvis.render.markdown import append_step_summary, render_markdown
from pytest_jarvis.render.text import render_text
from pytest_jarvis.report.analysis.insights import Insights, insights
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.gate import GateOutcome

T = TypeVar("T")

THRESHOLDS_FILE: Final = "thresholds.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputProblem:
    """A file that could not be made."""

    file: str
    sentence: str
    """What to tell the user, in one line."""


def write_outputs(
    report: Report,
    folder: Path,
    formats: Sequence[Format],
    *,
    names: Mapping[str, str] | None = None,
    step_summary: Path | None = None,
) -> list[OutputProblem]:
    """Write `thresholds.json` and the files of `formats` in `folder`, and return what could not be made.

    `names` says of some formats what their file is called, when not as in `FILES`.
    Nothing here raises: the numbers are written and judged before, and no picture may cost them. `step_summary` is the
    file that GitHub Actions names in `GITHUB_STEP_SUMMARY`: the Markdown summary is appended to it.
    """
    problems: list[OutputProblem] = []
    files = {one: (names or {}).get(one, file) for one, file in FILES.items() if one in formats}

    def attempt(file: str, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except Exception as error:  # noqa: BLE001  # a file for people never costs the numbers or the verdict
            reason = printable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
            problems.append(OutputProblem(file=file, sentence=labels.not_written(file, reason)))
            return None

    attempt(THRESHOLDS_FILE, lambda: write_atomically(folder / THRESHOLDS_FILE, encode_thresholds(report)))
    if not files:
        return problems
    found = attempt(", ".join(files.values()), lambda: insights(report))
    if found is None:
        return problems
    for one, file in files.items():
        attempt(file, partial(_write, one, report, found, folder / file, attempt))
    if "markdown" in formats and step_summary is not None:
        attempt(str(step_summary), lambda: append_step_summary(render_markdown(report, found), step_summary))
    return problems


def encode_thresholds(report: Report) -> bytes:
    """Return `thresholds.json`: how the weights were stored, the verdict, its reasons, and each threshold.

    A threshold has its value, bar, verdict and why. The storage is here because one that is partly in 4 bits must be
    known wherever a verdict is.
    """
    # A count is an int in the session that judged and a float once read back: the file is the same of both.
    gate = msgspec.convert(msgspec.to_builtins(report.gate), GateOutcome)
    document: dict[str, object] = {
        "schema_version": report.schema_version,
        "quantization": report.metadata.quantization,
        "verdict": gate.verdict,
        "exit_failed": gate.exit_failed,
        "reasons": gate.reasons,
        "adapters": gate.adapters,
        "thresholds": gate.thresholds,
    }
    if report.regression is not None:
        document["regression"] = report.regression
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


Attempt = Callable[[str, Callable[[], dict[str, str]]], dict[str, str] | None]


def _write(one: Format, report: Report, found: Insights, path: Path, attempt: Attempt) -> None:
    if one == "text":
        data = render_text(report, found).encode()
    elif one == "markdown":
        data = render_markdown(report, found).encode()
    elif one == "html":
        data = _html(report, found, attempt).encode()
    else:
        from pytest_jarvis.render.charts import chart_png

        data = chart_png(report, found)
    write_atomically(path, data)


def _html(report: Report, found: Insights, attempt: Attempt) -> str:
    """Return the page, without its charts if those cannot be drawn."""
    from pytest_jarvis.render.charts import chart_svgs
    from pytest_jarvis.render.html.page import render_html

    svgs = attempt(labels.CHARTS_OF_PAGE, lambda: chart_svgs(report, found))
    return render_html(report, found, svgs or {})
