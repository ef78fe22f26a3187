"""Output on pytest's terminal: progress, a line per prompt, and the summary."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pytest_jarvis.metrics.registry import COSINE
from pytest_jarvis.render import terminal
from pytest_jarvis.render.french.formats import encodable, fit, printable, typeset
from pytest_jarvis.render.french.notes import french_note
from pytest_jarvis.render.french.session import problem_sentence
from pytest_jarvis.render.french.words import word
from pytest_jarvis.render.terminal import MOST_ADAPTERS
from pytest_jarvis.report.analysis.insights import rank_adapters
from pytest_jarvis.run.build_report import several_processes
from pytest_jarvis.types import EngineDescription, Progress, StoreProblem

if TYPE_CHECKING:
    import pytest
    from _pytest._io import TerminalWriter
    from _pytest.capture import CaptureManager
    from _pytest.terminal import TerminalReporter

    from pytest_jarvis.inputs.config import LoggingSection
    from pytest_jarvis.render.files import OutputProblem
    from pytest_jarvis.report.schema import Report, ResultRow
    from pytest_jarvis.run.settings import Settings
    from pytest_jarvis.stats.gate import GateOutcome


_TERMINAL_PERIOD_S = 0.2
_LOG_PERIOD_S = 10.0


@dataclass(slots=True, kw_only=True)
class SessionSummary:
    """State of a session, for the summary at its end."""

    settings: Settings
    verbosity: int
    workers: int
    """Processes that generate responses."""
    report: Report | None = None
    gate: GateOutcome | None = None
    shown: list[str] = field(default_factory=list)
    """Lines added by tests."""
    folder: Path | None = None
    """Folder of the report."""
    problems: Sequence[OutputProblem] = ()
    """Files that failed."""
    store_problem: StoreProblem | None = None
    """Error of the store that was not shown yet."""
    all_workers_died: bool = False
    interrupted: bool = False
    error: str | None = None
    """Why the model cannot be used, which ends the session."""
    write_error: str | None = None
    """Why the report could not be written."""
    hook_error: str | None = None
    """Exception of a hook on the report."""

    @property
    def is_refused(self) -> bool:
        """Whether the run never began: there is nothing to judge."""
        return self.error is not None and self.report is None

    @property
    def is_judged(self) -> bool:
        """Whether there is a verdict to show."""
        judged = self.settings.write_report and self.gate is not None
        return judged and not (self.settings.twin or self.is_refused)


class LiveTerminal:
    """Progress of a run: one line rewritten in place on a terminal, occasional lines in a log."""

    def __init__(
        self, config: pytest.Config, label: str, *, logging: LoggingSection, notes: Sequence[str] = ()
    ) -> None:
        """`label` names the model; `notes` are shown before it loads; `logging` selects the output."""
        manager = config.pluginmanager
        self._reporter: TerminalReporter | None = manager.get_plugin("terminalreporter")
        self._capture: CaptureManager | None = manager.get_plugin("capturemanager")
        # A worker of pytest-xdist has no terminal.
        self._writer = None if self._reporter is None else config.get_terminal_writer()
        self._label = label
        self._progress = logging.progress
        self._memory = logging.gpu_memory
        self._notes = tuple(notes)
        self._quiet = verbosity_of(config, logging) < 0
        self._next = 0.0
        self._open_line = False
        self.has_shown_store_problem = False
        """Whether the store's error was shown."""

    def show_loading(self) -> None:
        """Show the notes and that the engine loads."""
        for note in self._notes:
            self._line(f"JARVIS : {note}")
        self._line(word("session.loading", model=self._label))

    def show_loaded(self, description: EngineDescription, seconds: float) -> None:
        """Show the loaded model and the time it took."""
        shown = description if self._memory else replace(description, memory=())
        for line in terminal.loaded_lines(shown, seconds):
            self._line(line)

    def show_reuse(self, look: int, taken: int, planned: int) -> None:
        """Show how many of a look's responses the store held."""
        self._line(word("session.reused", look=look, taken=taken, planned=planned))

    def show_store_problem(self, problem: StoreProblem) -> None:
        """Show that the run continues without its store."""
        self.has_shown_store_problem = self._writer is not None and not self._quiet
        self._line(problem_sentence(problem), yellow=True)

    def show_progress(self, look: int, progress: Progress) -> None:
        """Show how many responses there are, often on a terminal, seldom in a log."""
        now = time.monotonic()
        if now < self._next or not self._progress:
            return
        is_terminal = self._reporter is not None and self._reporter.isatty
        self._next = now + (_TERMINAL_PERIOD_S if is_terminal else _LOG_PERIOD_S)
        text = terminal.progress_line(look, progress, progress.memory if self._memory else ())
        if is_terminal:
            self._rewrite(text)
        elif progress.responses_done or progress.tokens:
            self._line(text)

    def show_look(self, look: int, progress: Progress) -> None:
        """Show that all responses of a look are generated."""
        if self._open_line:
            self._rewrite("")
            self._open_line = False
        if self._progress:
            self._line(terminal.progress_line(look, progress, progress.memory if self._memory else ()))
        self._next = 0.0

    def _line(self, text: str, **markup: bool) -> None:
        with self._writing() as writer:
            if writer is not None:
                _line(writer, text, **markup)

    def _rewrite(self, text: str) -> None:
        """Overwrite the open line; an empty text clears it."""
        with self._writing() as writer:
            if writer is None:
                return
            if not self._open_line:
                start_line(writer)
            shown = fit(_shown(text, writer), writer.fullwidth - 1)
            writer.write(f"\r{shown}" if text else f"\r{shown}\r", flush=True)
            self._open_line = True

    @contextmanager
    def _writing(self) -> Iterator[TerminalWriter | None]:
        """Yield pytest's writer with capture disabled; None to show nothing."""
        writer = None if self._quiet else self._writer
        if self._capture is None:
            yield writer
            return
        with self._capture.global_and_fixture_disabled():
            yield writer


_COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "NOT_JUDGED": "yellow", "OFF": "cyan"}


def verbosity_of(config: pytest.Config, section: LoggingSection) -> int:
    """Return the verbosity: pytest's -q (below 0) or -v (above 0), else that of the configuration."""
    given: int = getattr(config.option, "verbose", 0)  # absent with -p no:terminal
    return given or {"quiet": -1, "normal": 0, "verbose": 1}[section.verbosity]


_REGRESSION_COLOURS = {"DROP": "red", "NO_DROP": "green", "NOT_JUDGED": "yellow"}


def show_case(config: pytest.Config, rows: Sequence[ResultRow], label: str, *, shown: str, verbosity: int) -> str:
    """Print a line per adapter for a prompt, under its category's heading; return the heading.

    Print both first responses too with a `verbosity` above 0, and nothing below 0.
    """
    if not config.pluginmanager.has_plugin("terminalreporter") or verbosity < 0:
        return shown
    writer = config.get_terminal_writer()
    width = writer.fullwidth
    start_line(writer)
    if label != shown:
        _line(writer, terminal.case_heading(label, width), bold=True)
    for row in rows:
        _line(writer, terminal.case_line(row, width, name_arm=len(rows) > 1))
        if verbosity > 0:
            for line in terminal.answer_lines(row, width):
                _line(writer, line)
    return label


def write_summary(reporter: TerminalReporter, summary: SessionSummary) -> None:
    """Print lines of tests, tables, the verdict with its reasons, problems, and the report's folder."""
    settings, report, judged = summary.settings, summary.report, summary.is_judged
    if not (summary.shown or report or judged or summary.is_refused):
        return
    reporter.ensure_newline()
    reporter.section("JARVIS")
    _write(reporter, *(f"  {text}" for text in summary.shown))
    if summary.workers > 1:
        _write(reporter, french_note(several_processes(summary.workers, settings.gate.looks[-1])))
    if report is not None:
        _write_report(reporter, report, summary)
        if not (judged or settings.twin):
            whole = report.metadata.full_selection
            _write(
                reporter,
                word("session.not_asked_to_judge") if whole else word("session.not_asked_to_judge_part"),
                yellow=True,
            )
    if settings.gate.policy != "off":
        _write_gate(reporter, summary)
    if judged and report is not None:
        _write(reporter, *terminal.warning_lines(report), yellow=True)
    if report is not None and report.regression is not None:
        colour = _REGRESSION_COLOURS[report.regression.verdict]
        _write(reporter, *terminal.regression_lines(report), **{colour: True, "bold": True})
    _write_problems(reporter, summary)
    _write_end(reporter, summary)


def _write_end(reporter: TerminalReporter, summary: SessionSummary) -> None:
    has_drawn = summary.report is not None and any(row.samples for row in summary.report.results)
    if summary.interrupted and summary.settings.writes_store and has_drawn:
        _write(reporter, word("session.resume"), yellow=True)
    for error in (summary.error, summary.write_error):
        if error is not None:
            _write(reporter, f"ERROR: {error}", red=True, bold=True)
    if summary.folder is not None:
        _write(reporter, word("session.report_folder", folder=str(summary.folder)))
    if summary.settings.gate.policy == "off":
        _write_gate(reporter, summary)  # last, so that nobody takes the run for an accepted one


def _write_gate(reporter: TerminalReporter, summary: SessionSummary) -> None:
    gate, metrics = summary.gate, summary.report.metrics if summary.report else {}
    if summary.is_judged and gate is not None:
        lines = terminal.gate_lines(gate, summary.settings.gate, metrics)
        _write(reporter, *lines, **{_COLOURS[gate.verdict]: True, "bold": True})


def _write_problems(reporter: TerminalReporter, summary: SessionSummary) -> None:
    if summary.store_problem is not None:
        _write(reporter, problem_sentence(summary.store_problem), yellow=True)
    _write(reporter, *(problem.sentence for problem in summary.problems), red=True)
    if summary.all_workers_died:
        _write(reporter, word("session.all_workers_died"), red=True)
    if summary.hook_error is not None:
        _write(reporter, word("session.hook", error=summary.hook_error), red=True)


def _write_report(reporter: TerminalReporter, report: Report, summary: SessionSummary) -> None:
    verbosity, judged = summary.verbosity, summary.is_judged
    _write(reporter, *terminal.caution_lines(report), yellow=True)
    if verbosity >= 0:
        _write(reporter, *terminal.summary_table(report), *terminal.metric_lines(report))
        _write(reporter, *terminal.failure_lines(report.failures), red=True)
    if verbosity >= 0 and summary.settings.config.logging.timings and report.provenance.timings_s:
        _write(reporter, terminal.timings_line(report.provenance.timings_s))
    ranking = rank_adapters(report) if len(report.metadata.adapters) <= MOST_ADAPTERS else None
    _write(reporter, *terminal.choice_lines(report), *terminal.ranking_lines(report, ranking, with_verdict=judged))
    if report.noise_floor:
        _write(reporter, *terminal.noise_lines(report.noise_floor, report.statistics.figure(COSINE).finetuned))
    else:
        width = reporter.config.get_terminal_writer().fullwidth
        _write(reporter, *terminal.decision_lines(report, width=width, with_verdict=judged))


def _write(reporter: TerminalReporter, *lines: str, **markup: bool) -> None:
    writer = reporter.config.get_terminal_writer()
    for line in lines:
        _line(writer, line, **markup)


def _line(writer: TerminalWriter, text: str, **markup: bool) -> None:
    start_line(writer)
    writer.line(_shown(text, writer), **markup)


def _shown(text: str, writer: TerminalWriter) -> str:
    """Return a line as the terminal gets it, whatever it quotes of a file or a server."""
    return encodable(printable(typeset(text)), encoding_of(writer))


def start_line(writer: TerminalWriter) -> None:
    """End an open line; the reporter's own method would print the file's name again."""
    if writer.width_of_current_line:
        writer.line()


def encoding_of(writer: TerminalWriter) -> str | None:
    """Return the encoding of the stream behind pytest's writer."""
    return getattr(writer._file, "encoding", None)  # noqa: SLF001  # the stream itself is not public
