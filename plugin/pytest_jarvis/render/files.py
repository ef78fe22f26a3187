"""Output files of a report: each written atomically and on its own, none of them fatal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from pytest_jarvis.files import write_atomically
from pytest_jarvis.inputs.config import FILES
from pytest_jarvis.render import Incomplete, OutputFormat, find_format
from pytest_jarvis.render.french.words import word
from pytest_jarvis.render.markdown import append_step_summary, render_markdown
from pytest_jarvis.report.analysis.insights import Insights, insights
from pytest_jarvis.report.schema import REPORT_FILE, Report
from pytest_jarvis.stats.gate import GateOutcome

T = TypeVar("T")

THRESHOLDS_FILE: Final = "thresholds.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputProblem:
    """A file that could not be made."""

    file: str
    sentence: str
    """For the user, in one line."""


def write_outputs(
    report: Report,
    folder: Path,
    formats: Sequence[str],
    *,
    names: Mapping[str, str] | None = None,
    step_summary: Path | None = None,
    on_written: Callable[[Path], None] | None = None,
) -> list[OutputProblem]:
    """Write `thresholds.json` and the files of `formats` in `folder`; return the problems, never raise.

    The numbers and the verdict are on disk before, and no picture may cost them. `names` overrides the file names of
    formats; `on_written` is called with each file. The Markdown summary is appended to `step_summary`, the file that
    GitHub Actions names in `GITHUB_STEP_SUMMARY`.
    """
    writer = _Writer(folder, on_written)
    attempt = writer.attempt
    attempt(THRESHOLDS_FILE, lambda: writer.write(THRESHOLDS_FILE, encode_thresholds(report)))
    ordered = [*(one for one in FILES if one in formats), *(one for one in formats if one not in FILES)]
    kinds = {name: one for name in ordered if (one := attempt(name, partial(find_format, name))) is not None}
    files = {name: (names or {}).get(name, one.file) for name, one in kinds.items()}
    found = attempt(", ".join(files.values()), lambda: insights(report)) if files else None
    if found is None:
        return writer.problems
    for name, one in kinds.items():
        attempt(files[name], partial(writer.make, files[name], one, report, found))
    if "markdown" in formats and step_summary is not None:
        attempt(str(step_summary), lambda: append_step_summary(render_markdown(report, found), step_summary))
    return writer.problems


class _Writer:
    """Writes the files of a report under distinct names, and collects the problems."""

    def __init__(self, folder: Path, on_written: Callable[[Path], None] | None) -> None:
        self.problems: list[OutputProblem] = []
        self._folder = folder
        self._on_written = on_written
        self._taken = {REPORT_FILE, THRESHOLDS_FILE}

    def attempt(self, file: str, action: Callable[[], T]) -> T | None:
        """Return the result of `action`; if it raises, None, and add a problem."""
        try:
            return action()
        except Exception as error:  # noqa: BLE001  # a file for people never costs the numbers or the verdict
            self._note(file, error)
            return None

    def make(self, file: str, one: OutputFormat, report: Report, found: Insights) -> None:
        """Write the file of a format; ValueError if the name is no file name, or another file has it."""
        if file in self._taken or Path(file).name != file:
            raise ValueError("the file name must be a plain one that no other output has")
        self._taken.add(file)
        made = one.make(report, found)
        if isinstance(made, Incomplete):
            self._note(made.part, made.error)
            made = made.data
        self.write(file, made.encode() if isinstance(made, str) else made)

    def write(self, file: str, data: bytes) -> None:
        """Write a file and call `on_written`."""
        write_atomically(self._folder / file, data)
        if self._on_written is not None:
            self._on_written(self._folder / file)

    def _note(self, file: str, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self.problems.append(OutputProblem(file=file, sentence=word("labels.file_failed", file=file, reason=reason)))


def encode_thresholds(report: Report) -> bytes:
    """Return `thresholds.json`: storage of the weights, verdict, reasons, and thresholds with their bars.

    The storage is part of it because partly quantised weights must be known wherever a verdict is.
    """
    # A count is an int in a session and a float in a report from a file; the output must not differ.
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
