"""Saved runs in the folder of reports: the baseline, and the newest comparable run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_jarvis.files import InputError, text_digest, write_atomically
from pytest_jarvis.metrics.registry import RELEVANCE
from pytest_jarvis.report.comparison import is_comparable
from pytest_jarvis.report.io import load_report
from pytest_jarvis.report.schema import REPORT_FILE, Report
from pytest_jarvis.stats.regression import Choice, StoredRun
from pytest_jarvis.types import TWIN_ARM

BASELINE_FILE: Final = "baseline.json"
"""A copy of a report, which outlives the run's folder and can be committed alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """A loaded report and how it was selected (named, baseline, newest)."""

    path: Path
    sha256: str
    report: Report
    chosen: Choice

    def describe(self, adapter: str) -> StoredRun:
        """Return the description of this run as a baseline: its adapter of that name, else its candidate."""
        metadata = self.report.metadata
        return StoredRun(
            report=self.path.as_posix(),
            sha256=self.sha256,
            timestamp=metadata.timestamp,
            commit=self.report.provenance.commit,
            adapter=adapter if adapter in metadata.adapters else metadata.lora_adapter,
            chosen=self.chosen,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionBaseline:
    """The baseline selected by `--jarvis-compare`."""

    asked: str
    saved: SavedRun | None
    """None to search the newest comparable run once the report is known."""
    fail: bool
    """Whether a proven drop exits 1."""

    def find(self, report: Report, reports: Path) -> SavedRun | None:
        """Return the run to test `report` against; None when there is none."""
        return self.saved or newest_comparable(reports, report)


def read_saved(path: Path, chosen: Choice) -> SavedRun:
    """Return the run of a report file or of its folder; InputError when it cannot be read."""
    file = path / REPORT_FILE if path.is_dir() else path
    report = load_report(file)
    return SavedRun(path=file, sha256=text_digest(file.read_bytes()), report=report, chosen=chosen)


def saved_runs(reports: Path) -> Iterator[SavedRun | InputError]:
    """Yield the run in each folder of `reports`, by folder name; for a damaged report its error."""
    for file in sorted(reports.glob(f"*/{REPORT_FILE}")):
        try:
            yield read_saved(file, "newest")
        except InputError as error:
            yield error


def newest_comparable(reports: Path, report: Report) -> SavedRun | None:
    """Return the newest full run that `is_comparable`; skip damaged reports."""
    found = [
        run
        for run in saved_runs(reports)
        if isinstance(run, SavedRun) and run.report.metadata.full_selection and is_comparable(run.report, report)
    ]
    return max(found, key=lambda run: run.report.metadata.timestamp, default=None)


def set_baseline(source: Path, reports: Path) -> tuple[SavedRun, SavedRun | None]:
    """Make a report's copy the baseline; return it and the last one. InputError for an A/A or unmeasured run."""
    new = read_saved(source, "baseline")
    if new.report.is_altered:
        raise InputError(f"{new.path}: was changed after the run; it cannot be the baseline")
    if TWIN_ARM in new.report.metadata.adapters:
        raise InputError(f"{new.path}: an A/A run has no candidate; it cannot be the baseline")
    if all(row.figure(RELEVANCE).finetuned is None for row in new.report.results):
        raise InputError(f"{new.path}: no relevance was measured; it cannot be the baseline")
    file = reports / BASELINE_FILE
    old = current_baseline(reports)
    data = new.path.read_bytes()
    try:
        reports.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror or error}") from None
    return read_saved(file, "baseline"), old


def current_baseline(reports: Path) -> SavedRun | None:
    """Return the baseline; None when none is set or it cannot be read."""
    try:
        return read_saved(reports / BASELINE_FILE, "baseline")
    except InputError:
        return None
