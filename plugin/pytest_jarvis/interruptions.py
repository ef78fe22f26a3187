"""What Ctrl-C leaves, made such that pytest can show it."""

from __future__ import annotations

from types import TracebackType


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
