"""How a report is shown: files, terminal, and the French words for all of them.

files             every file that is made of a report, ours and those of other distributions
text, markdown, html/, charts/   each holds a `FORMAT`
terminal          what a session prints
french/           all words that a reader sees
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
    """A file that was made without one of its parts."""

    data: str | bytes
    part: str
    """What is missing, for the reader."""
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFormat:
    """One kind of file that is made of a report; what an entry point of `pytest_jarvis.outputs` names."""

    file: str
    """What the file is called, where the configuration says nothing else."""
    render: str | Callable[[Report, Insights], str | bytes | Incomplete]
    """Returns what the file holds; text is written as UTF-8. As `module:name` it is imported when it is called."""

    def make(self, report: Report, insights: Insights) -> str | bytes | Incomplete:
        """Return what the file holds; what `render` raises passes through."""
        render: Callable[[Report, Insights], str | bytes | Incomplete]
        render = resolve_name(self.render) if isinstance(self.render, str) else self.render
        return render(report, insights)


def find_format(name: str) -> OutputFormat:
    """Return a format: ours without reading any metadata, else an installed one, whose errors pass through."""
    found = import_module(f"{__name__}.{name}").FORMAT if name in FILES else find_entry_points(OUTPUTS)[name].load()
    if not isinstance(found, OutputFormat):
        raise TypeError(f"the entry point '{name}' of {OUTPUTS} is no OutputFormat")
    return found
