"""Shows on pytest's terminal how a run goes, past the capture of output."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_jarvis.outputs import terminal
from pytest_jarvis.outputs.wording import encodable, fit, typeset
from pytest_jarvis.outputs.wording.store import problem_sentence, recalled_line
from pytest_jarvis.summary import encoding_of, start_line, verbosity_of

if TYPE_CHECKING:
    import pytest
    from _pytest._io import TerminalWriter
    from _pytest.capture import CaptureManager
    from _pytest.terminal import TerminalReporter

    from pytest_jarvis.config import LoggingSection
    from pytest_jarvis.keeping import StoreProblem
    from pytest_jarvis.records import EngineDescription, Progress

_TERMINAL_PERIOD_S = 0.2
_LOG_PERIOD_S = 10.0


class LiveTerminal:
    """A line that is rewritten on a terminal; a line now and then, without carriage returns, in a log."""

    def __init__(
        self, config: pytest.Config, label: str, *, logging: LoggingSection, notes: Sequence[str] = ()
    ) -> None:
        """`label` names the model, `notes` are shown before it is loaded; `logging` says what is shown at all."""
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
        self.told_of_store = False
        """Whether the failure of the store was shown."""

    def loading(self) -> None:
        """Show that the engine begins to load, and what was chosen for it."""
        for note in self._notes:
            self._line(terminal.note_line(note))
        self._line(terminal.loading_line(self._label))

    def loaded(self, description: EngineDescription, seconds: float) -> None:
        """Show what is loaded and how long it took."""
        shown = description if self._memory else replace(description, memory=())
        for line in terminal.loaded_lines(shown, seconds):
            self._line(line)

    def recalled(self, look: int, taken: int, planned: int) -> None:
        """Show how many of a look's responses the store had."""
        self._line(recalled_line(look, taken, planned))

    def store_failed(self, problem: StoreProblem) -> None:
        """Show that the run goes on without its store."""
        self.told_of_store = self._writer is not None and not self._quiet
        self._line(problem_sentence(problem.kind, problem.path, problem.reason), yellow=True)

    def drawing(self, look: int, progress: Progress) -> None:
        """Show how far the drawing is, often on a terminal, seldom in a log."""
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

    def drawn(self, look: int, progress: Progress) -> None:
        """Show that all responses of a look are there."""
        if self._open_line:
            self._rewrite("")
            self._open_line = False
        if self._progress:
            self._line(terminal.progress_line(look, progress, progress.memory if self._memory else ()))
        self._next = 0.0

    def _line(self, text: str, **markup: bool) -> None:
        with self._writing() as writer:
            if writer is not None:
                start_line(writer)
                writer.line(encodable(typeset(text), encoding_of(writer)), **markup)

    def _rewrite(self, text: str) -> None:
        """Write over the open line; an empty text clears it."""
        with self._writing() as writer:
            if writer is None:
                return
            if not self._open_line:
                start_line(writer)
            shown = fit(encodable(typeset(text), encoding_of(writer)), writer.fullwidth - 1)
            writer.write(f"\r{shown}" if text else f"\r{shown}\r", flush=True)
            self._open_line = True

    @contextmanager
    def _writing(self) -> Iterator[TerminalWriter | None]:
        """Give pytest's writer past the capture of output; None when nothing is to be shown."""
        writer = None if self._quiet else self._writer
        if self._capture is None:
            yield writer
            return
        with self._capture.global_and_fixture_disabled():
            yield writer
