"""Recorder of a benchmark session: what fixtures give, the results of tests, their judgement, the report."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar, runtime_checkable

import msgspec
import pytest

from pytest_jarvis.files import InputError, write_atomically
from pytest_jarvis.metrics.custom import NO_METRICS, MetricFaultError, MetricSet
from pytest_jarvis.plugin.terminal import LiveTerminal, SessionSummary, show_case, verbosity_of, write_summary
from pytest_jarvis.plugin.workers import DEVICE_KEY, NOTES_KEY, is_worker, tell_controller, worker_count
from pytest_jarvis.plugin.xdist import Controller, Runs, WorkerNotes
from pytest_jarvis.render.french import labels
from pytest_jarvis.render.french.formats import printable
from pytest_jarvis.render.french.notes import french_note
from pytest_jarvis.render.french.words import word
from pytest_jarvis.report.io import encode_report, flat_figures
from pytest_jarvis.report.schema import REPORT_FILE, FailureRow, Report, ResultRow, failure_row
from pytest_jarvis.run.build_report import (
    SessionResults,
    has_failed,
    judge_gate,
    judge_workers,
    make_report,
    measure_all_controls,
    save_report,
)
from pytest_jarvis.types import BASE_ARM, EngineError, Failure, PromptCase, Request, Response

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_jarvis.engines.base import Engine
    from pytest_jarvis.inputs.contamination import Contamination
    from pytest_jarvis.run.benchmark import Benchmark
    from pytest_jarvis.run.runner import RunFacts


def fill_line_numbers(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback with a line in every entry: pytest needs one, and Python has none for some instructions."""
    entries: list[TracebackType] = []
    while traceback is not None:
        entries.append(traceback)
        traceback = traceback.tb_next
    for entry in reversed(entries):
        line = entry.tb_lineno or entry.tb_frame.f_code.co_firstlineno
        traceback = TracebackType(traceback, entry.tb_frame, entry.tb_lasti, line)
    return traceback


def silence_exit_message(config: pytest.Config) -> None:
    """Drop pytest's message about the exit that ends the session: our summary has it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter._keyboardinterrupt_memo = None  # noqa: SLF001  # there is no public way


T = TypeVar("T")

_MAY_BECOME_FAILED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_SHOWN_PROPERTY = "jarvis_shown"
_USAGE_ERROR = int(pytest.ExitCode.USAGE_ERROR)


class CaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one test; travels on the test's report."""

    rows: tuple[ResultRow, ...]
    failures: tuple[FailureRow, ...]
    notes: WorkerNotes | None = None
    """With the first record of a worker, in case it dies."""


_RECORD = pytest.StashKey[CaseRecord]()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Result of `jarvis_measure`: a row per adapter, and the failures."""

    rows: tuple[ResultRow, ...]
    failures: tuple[FailureRow, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every adapter has a pair of responses."""
        return all(row.measured for row in self.rows)

    @property
    def problems(self) -> str:
        """Distinct reasons of the failures, as one line."""
        reasons = sorted({f"{failure.arm}: {failure.stage}: {failure.reason}" for failure in self.failures})
        return printable("; ".join(reasons)) or "no response was generated"


@runtime_checkable
class AnswersAlone(Protocol):
    """An engine that can generate at batch size 1."""

    def answer_alone(self, request: Request) -> Response | Failure:
        """Return the response to one request, alone in its batch."""


@dataclass(frozen=True, slots=True)
class ModelHandle:
    """One arm of the loaded pair: its adapter on, or all adapters off."""

    engine: Engine
    arm: str
    label: str

    @property
    def storage(self) -> str:
        """Measured storage of the weights, in French."""
        return labels.storage(self.engine.describe().coverage.storage)

    def generate(self, text: str, *, prompt_id: str = "libre", replicate: int = 0) -> Response:
        """Return one response to `text`; raise EngineError for a failure."""
        request = Request(prompt_id=prompt_id, text=text, arm=self.arm, replicate=replicate)
        return self._require_response(text, next(iter(self.engine.generate([request])), None))

    def answer_alone(self, text: str, *, prompt_id: str = "libre", replicate: int = 0) -> Response:
        """Return one response at batch size 1, to measure latency; raise EngineError for a failure.

        An engine without batches of its own (a server, the scripted one) generates as usual.
        """
        if not isinstance(self.engine, AnswersAlone):
            return self.generate(text, prompt_id=prompt_id, replicate=replicate)
        request = Request(prompt_id=prompt_id, text=text, arm=self.arm, replicate=replicate)
        return self._require_response(text, self.engine.answer_alone(request))

    def _require_response(self, text: str, outcome: Response | Failure | None) -> Response:
        if outcome is None:
            raise EngineError(f"{self.arm}: no response to {text!r}")
        if isinstance(outcome, Failure):
            raise EngineError(f"{self.arm}: no response to {text!r}: {outcome.reason}")
        return outcome


class Recorder:
    """Plugin that records a benchmark session, registered once its cases are selected."""

    def __init__(
        self,
        config: pytest.Config,
        benchmark: Benchmark,
        cases: tuple[PromptCase, ...],
        metrics: MetricSet,
        controller: Controller | None = None,
    ) -> None:
        """Load nothing yet; `cases` are the selected ones, `metrics` the custom ones.

        `controller` exists on the controller of pytest-xdist, which runs no tests.
        """
        self.config = config
        self.metrics = metrics
        self.contamination: Contamination | None = None
        self.benchmark = benchmark
        conf = benchmark.settings.config
        replay = benchmark.settings.replay
        if replay is None:
            label = labels.model_named(conf.model.base_model_id)
        elif replay.report:
            label = word("saved_runs.replay", report=replay.source)
        else:
            label = word("saved_runs.answers", file=replay.source)
        # A replay generates nothing: it has no progress and no memory to show.
        self.listener = LiveTerminal(
            config,
            label,
            logging=conf.logging
            if replay is None
            else msgspec.structs.replace(conf.logging, progress=False, gpu_memory=False),
            notes=[french_note(note) for detection in benchmark.settings.detections for note in detection.notes()],
        )
        self.summary = SessionSummary(
            settings=benchmark.settings, verbosity=verbosity_of(config, conf.logging), workers=worker_count(config)
        )
        self.controller = controller
        self.runs = Runs(benchmark, cases, self.listener, self.summary.workers if controller is None else 1)
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and config.option.verbose == 0 and self.summary.verbosity >= 0:
            # A recorded test prints a line instead of a mark, which pytest's percentages would not count.
            reporter._show_progress_info = False  # noqa: SLF001  # there is no public way
        self.records: dict[str, CaseRecord] = {}
        self._has_sent_notes = False
        self._category = ""
        self._handlers: dict[int, Any] = {}  # as signal.signal gives them back
        self._stops = 0
        self._is_written = False

    @property
    def engine(self) -> Engine:
        """The session's engine; exit status 4 when it cannot be loaded."""
        return self._run_or_exit(lambda: self.runs.engine)

    def _run_or_exit(self, action: Callable[[], T]) -> T:
        """Return the result of `action`; exit with status 4 for an unusable model, a worker by its controller."""
        workers, has_device = self.summary.workers, DEVICE_KEY in getattr(self.config, "workerinput", {})
        if workers > 1 and self.benchmark.settings.kind.holds_model and not has_device:
            self._exit_with(
                f"each of {workers} workers would load the model; run without -n, or with -n 1; with several "
                "GPUs, --jarvis-report gives each worker its own"
            )
        try:
            return action()
        except (EngineError, InputError) as error:
            self._exit_with(str(error))

    def _exit_with(self, sentence: str) -> NoReturn:
        self.summary.error = sentence = printable(sentence)
        if is_worker(self.config):
            pytest.fail(sentence, pytrace=False)
        pytest.exit(sentence, returncode=_USAGE_ERROR)

    def handle(self, index: int | None) -> ModelHandle:
        """Return the handle on the base (None), or on the adapter with this index."""
        label = labels.model_label(self.engine.describe())
        if index is None or self.benchmark.settings.twin:
            return ModelHandle(self.engine, BASE_ARM, label)
        name = self.benchmark.settings.adapters[index].name
        return ModelHandle(self.engine, name, f"{label} + {name}")

    def show(self, item: pytest.Item, text: str) -> None:
        """Add a line to the terminal summary; it travels on the test's report."""
        item.user_properties.append((_SHOWN_PROPERTY, text))

    def measure(self, item: pytest.Item, case: PromptCase) -> Measured:
        """Generate the plan's responses at the first call, and record the case's rows on the item."""
        run = self.runs.find(case)
        self._run_or_exit(lambda: run.generate(self.metrics))
        failures = tuple(failure_row(failure, case.category) for failure in run.failures(case))
        try:
            rows = tuple(run.rows(case, self.metrics))
        except MetricFaultError as fault:
            # Keep the responses: only their scores are missing.
            failure = fault.response.failure("score", fault.note)
            rows = tuple(run.rows(case, NO_METRICS))
            item.stash[_RECORD] = CaseRecord(rows=rows, failures=(*failures, failure_row(failure, case.category)))
            pytest.fail(printable(str(fault)), pytrace=False)
        notes = None if self._has_sent_notes or not is_worker(self.config) else self._worker_notes()
        item.stash[_RECORD] = CaseRecord(rows=rows, failures=failures, notes=notes)
        self._has_sent_notes = True
        item.user_properties.extend(_score_properties(rows))
        return Measured(rows=rows, failures=failures)

    def _worker_notes(self) -> WorkerNotes:
        return WorkerNotes(facts=self.runs.facts(), error=self.summary.error, metrics=self.metrics.specs)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the record on the test's report, which a worker sends to the controller."""
        report = yield
        if call.when == "call" and (record := item.stash.get(_RECORD, None)) is not None:
            vars(report)["jarvis_record"] = msgspec.to_builtins(record)
            del item.stash[_RECORD]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the record off a report, except on a worker."""
        if report.when != "call" or is_worker(self.config):
            return
        self.summary.shown += [str(value) for name, value in report.user_properties if name == _SHOWN_PROPERTY]
        raw = getattr(report, "jarvis_record", None)
        if raw is None:
            return
        record = msgspec.convert(raw, CaseRecord)
        # pytest keeps every report to the end: free the record, and keep only that there was one.
        vars(report)["jarvis_record"] = None
        self.records[report.nodeid] = record
        if self.controller is not None and record.notes is not None:
            self.controller.early_notes = record.notes
        self._category = show_case(
            self.config, record.rows, self._label(record), shown=self._category, verbosity=self.summary.verbosity
        )
        for row in record.rows:
            self.config.hook.pytest_jarvis_result(config=self.config, row=row)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Drop pytest's mark for a recorded test, which prints a line."""
        recorded = report.when == "call" and report.passed and hasattr(report, "jarvis_record")
        return ("passed", "", "") if recorded and self.summary.verbosity >= 0 else None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Complete the traceback of Ctrl-C, from which pytest takes the place."""
        try:
            return (yield)
        except KeyboardInterrupt as interrupt:
            interrupt.__traceback__ = fill_line_numbers(interrupt.__traceback__)
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Have what CI runners send interrupt the session as Ctrl-C does; leave alone what is ignored, as by nohup."""
        if is_worker(self.config) or threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._stop)

    def pytest_unconfigure(self) -> None:
        """Give the signals back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _stop(self, *_: object) -> None:
        """Interrupt the session; once the numbers are written, or the third time, end at once."""
        self._stops += 1
        if self._is_written or self._stops > 2:
            os._exit(int(pytest.ExitCode.INTERRUPTED))
        if self._stops == 1:
            raise KeyboardInterrupt

    @pytest.hookimpl(trylast=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Mark the report as partial."""
        self.summary.interrupted = True
        if self.summary.error is not None:
            silence_exit_message(self.config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, set the exit status, and make the other files; a worker only sends its notes."""
        if is_worker(self.config):
            tell_controller(self.config, NOTES_KEY, msgspec.to_builtins(self._worker_notes()))
            self.runs.close()
            return
        try:
            # With --setup-only and --setup-plan no test runs: there is nothing to judge.
            if not self.config.option.setuponly:
                self._conclude(session)
        finally:
            # Last, so that a device that fails to free its memory does not cost the report.
            self.runs.close()

    def _conclude(self, session: pytest.Session) -> None:
        """Write the numbers first, then set the exit status; call hooks and make the other files last."""
        results = self._collect_results()
        self.summary.gate = judge_gate(self.benchmark, results)
        writes = self.benchmark.settings.write_report
        if results is not None and results.planned:
            self.summary.report = make_report(self.benchmark, results, self.summary.gate, self.config.rootpath)
            if writes:
                try:
                    self.summary.folder = save_report(self.summary.report, self.benchmark.settings)
                except InputError as error:
                    self.summary.write_error = str(error)
        self._is_written = True
        if self._stops > 1:
            os._exit(int(pytest.ExitCode.INTERRUPTED))
        if writes:
            self._write_junit(session)
            if has_failed(self.summary.gate, self.summary.report) and session.exitstatus in _MAY_BECOME_FAILED:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        has_no_model = self.controller is not None and self.controller.error is not None
        if has_no_model or self.summary.write_error is not None:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        if self.summary.report is not None:
            self.summary.report = self._call_report_hooks(self.summary.report)
            if self.summary.folder is not None:
                self._make_files(self.summary.report, self.summary.folder)

    @property
    def facts(self) -> RunFacts | None:
        """Facts of the run; under pytest-xdist, those of the workers."""
        return self.runs.facts() if self.controller is None else self.controller.facts()

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Print the summary."""
        facts = None if self.listener.has_shown_store_problem else self.facts
        self.summary.store_problem = None if facts is None else facts.store_problem
        lost = self.controller is not None and bool(self.controller.lost)
        self.summary.all_workers_died = self.summary.report is None and lost
        write_summary(terminalreporter, self.summary)

    def _make_files(self, report: Report, folder: Path) -> None:
        from pytest_jarvis.render.files import write_outputs
        from pytest_jarvis.render.markdown import STEP_SUMMARY_VARIABLE

        named = os.environ.get(STEP_SUMMARY_VARIABLE)
        output = self.benchmark.settings.config.output
        self.summary.problems = write_outputs(
            report, folder, output.formats, names=output.names, step_summary=Path(named) if named else None
        )

    def _write_junit(self, session: pytest.Session) -> None:
        assert self.summary.gate is not None  # noqa: S101  # checked by the caller
        from _pytest.junitxml import xml_key

        if (xml := session.config.stash.get(xml_key, None)) is not None:
            xml.add_global_property("jarvis.verdict", self.summary.gate.verdict)
            if self.summary.report is not None and self.summary.report.regression is not None:
                xml.add_global_property("jarvis.regression", self.summary.report.regression.verdict)

    def _collect_results(self) -> SessionResults | None:
        """Return the results, also of cases whose test did not run; None when nothing was loaded."""
        controller, facts = self.controller, self.facts
        if facts is None:
            return None
        samples = facts.samples_per_prompt
        metrics = self.metrics.specs if controller is None else controller.metrics
        recorded = {row.prompt_id: record for record in self.records.values() for row in record.rows}

        def find_record(case: PromptCase) -> CaseRecord:
            if (record := recorded.get(case.prompt_id)) is not None:
                return record
            run = self.runs.find(case)
            lost = run.failures(case) if controller is None else controller.failures_of(case, samples)
            if not (lost or run.has_anything(case)):
                return CaseRecord(rows=(), failures=())
            failures = tuple(failure_row(failure, case.category) for failure in lost)
            return CaseRecord(rows=tuple(run.rows(case, NO_METRICS)), failures=failures)

        cases = self.runs.cases if controller is None else controller.planned
        records = [find_record(case) for case in cases]
        rows = tuple(row for record in records for row in record.rows)
        if controller is not None and not controller.has_decided(facts):
            facts = judge_workers(self.benchmark, rows, facts, metrics)
        return SessionResults(
            rows=rows,
            failures=tuple(failure for record in records for failure in record.failures),
            planned=cases,
            facts=facts,
            finished=len(recorded) == len(cases),
            interrupted=self.summary.interrupted,
            metrics=metrics,
            workers=self.summary.workers,
            contamination=self.contamination,
            controls=measure_all_controls(self.benchmark, rows, facts.decisions),
        )

    def _label(self, record: CaseRecord) -> str:
        return next(one.label for one in self.benchmark.prompts.categories if one.name == record.rows[0].category)

    def _call_report_hooks(self, report: Report) -> Report:
        """Return the report as changed by hooks, and write it again; a hook that raises changes nothing."""
        try:
            for changed in reversed(self.config.hook.pytest_jarvis_report(config=self.config, report=report)):
                report = msgspec.convert(msgspec.to_builtins(changed), Report)
            if report is not self.summary.report and self.summary.folder is not None:
                write_atomically(self.summary.folder / REPORT_FILE, encode_report(report))
        except Exception as error:  # noqa: BLE001  # another's code must not cost the summary
            self.summary.hook_error = f"{type(error).__name__}: {error}"
            return self.summary.report or report
        return report


def _score_properties(rows: tuple[ResultRow, ...]) -> list[tuple[str, object]]:
    result: list[tuple[str, object]] = []
    for row in rows:
        scores = flat_figures(row)
        result += [(f"{row.adapter}.{name}", round(value, 6)) for name, value in scores.items() if value is not None]
    return result
