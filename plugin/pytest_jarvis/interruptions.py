"""What Ctrl-C or a refusal leaves, made such that pytest can show it."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def with_lines(traceback: TracebackType | None) -> TracebackType | None:
    """Return the same traceback with a line in every entry: Python has none for some instructions, pytest needs one."""
    entries: list[TracebackType] = []
    while traceback is not None:
        entries.append(traceback)
        traceback = traceback.tb_next
    for entry in reversed(entries):
        line = entry.tb_lineno or entry.tb_frame.f_code.co_firstlineno
        traceback = TracebackType(traceback, entry.tb_frame, entry.tb_lasti, line)
    return traceback


def leave_to_summary(config: pytest.Config) -> None:
    """Have pytest say nothing of its own of the exit that ends the session: our summary says why."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter._keyboardinterrupt_memo = None  # noqa: SLF001  # there is no public way
