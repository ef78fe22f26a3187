"""Output of a report: files, terminal, and the French words of both.

files                            every output file, ours and those of other distributions
text, markdown, html/, charts/   a `FORMAT` each
sections, blocks                 the content of reports, whatever the output
terminal                         what a session prints
saved_runs                       saved runs: compared, and over time
french/                          every word that a reader sees
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from pytest_jarvis.files import find_entry_points
from pytest_jarvis.inputs.config import FILES, OUTPUTS

if TYPE_CHECKING:
    from pytest_jarvis.report.analysis.insights import Insights
    from pytest_jarvis.report.schema import Report


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A file made without one of its parts."""

    data: str | bytes
    part: str
    """The missing part, in French."""
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFormat:
    """A kind of output file; entry points of `pytest_jarvis.outputs` name one."""

    file: str
    """Default name of the file."""
    render: str | Callable[[Report, Insights], str | bytes | Incomplete]
    """Returns the content; text is written as UTF-8. As `module:name` it is imported at the first call."""

    def make(self, report: Report, insights: Insights) -> str | bytes | Incomplete:
        """Return the content of the file; exceptions of `render` pass through."""
        render: Callable[[Report, Insights], str | bytes | Incomplete]
        render = resolve_name(self.render) if isinstance(self.render, str) else self.render
        return render(report, insights)


def find_format(name: str) -> OutputFormat:
    """Return a format by name; built-in ones without reading metadata, installed ones with their own errors."""
    found = import_module(f"{__name__}.{name}").FORMAT if name in FILES else find_entry_points(OUTPUTS)[name].load()
    if not isinstance(found, OutputFormat):
        raise TypeError(f"the entry point '{name}' of {OUTPUTS} is not an OutputFormat")
    return found
