"""The configuration as `pytest-jarvis config show` prints it: each value, whole, with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.outputs.layout import wrap
from pytest_jarvis.outputs.wording import configuration as wording
from pytest_jarvis.outputs.wording import fit, width_of

if TYPE_CHECKING:
    from pytest_jarvis.settings import Origin

_KEY_WIDTH: Final = 28
_VALUE_WIDTH: Final = 34
_LEAST_VALUE: Final = 24
"""A terminal with less room for values has them under their keys."""


def settings_lines(origins: Sequence[Origin], result: Mapping[str, Any], *, width: int | None = None) -> list[str]:
    """Return a line per key under its section, then what they come to together.

    Every value is whole: in a terminal of `width` columns a long one goes on on the next lines.
    """
    files = {origin.by for origin in origins if origin.kind == "file"}
    lines = [wording.files_line(sorted(map(str, files)))]
    section = ""
    for origin in origins:
        if origin.section != section:
            section = origin.section
            lines += ["", section]
        lines += _lines(origin.key, wording.shown(origin.value), wording.come_from(origin.kind, origin.by), width)
    lines += ["", wording.RESULTS]
    for name, value in result.items():
        lines += _lines(wording.result_name(name), wording.shown(value), "", width)
    return lines


def _lines(key: str, value: str, told: str, width: int | None) -> list[str]:
    """Return a key with its value and where that comes from; the value wrapped where `width` has no room for it."""
    head = f"  {fit(key, max(_KEY_WIDTH, width_of(key)))} "
    line = f"{head}{fit(value, max(_VALUE_WIDTH, width_of(value)))}  {told}".rstrip()
    if width is None or width_of(line) <= width:
        return [line]
    # The last column stays free: some terminals begin a new line when it is written.
    under = width - width_of(head) - 1 < _LEAST_VALUE
    indent = "    " if under else " " * width_of(head)
    wrapped = wrap(value, max(1, width - len(indent) - 1))
    lines = [*([head.rstrip()] if under else ()), *(f"{indent}{part}" for part in wrapped)]
    if not under:
        lines[0] = f"{head}{wrapped[0]}"
    if told and width_of(lines[-1]) + 2 + width_of(told) < width:
        return [*lines[:-1], f"{lines[-1]}  {told}"]
    return [*lines, *([f"{indent}{told}"] if told else ())]
