"""pytest plugin that tests, at a stated error rate, whether a LoRA is a better JARVIS than its base."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_jarvis.metrics.custom import jarvis_metric
    from pytest_jarvis.plugin.session import Measured, ModelHandle
    from pytest_jarvis.report.io import load_report
    from pytest_jarvis.report.schema import Report, ResultRow
    from pytest_jarvis.stats.decision import Decision, decide
    from pytest_jarvis.types import Note, PromptCase, Response

__version__ = "0.1.0"
__all__ = [
    "Decision",
    "Measured",
    "ModelHandle",
    "Note",
    "PromptCase",
    "Report",
    "Response",
    "ResultRow",
    "decide",
    "jarvis_metric",
    "load_report",
]

_HOME = {
    "Decision": "stats.decision",
    "Measured": "plugin.session",
    "ModelHandle": "plugin.session",
    "Note": "types",
    "PromptCase": "types",
    "Report": "report.schema",
    "Response": "types",
    "ResultRow": "report.schema",
    "decide": "stats.decision",
    "jarvis_metric": "metrics.custom",
    "load_report": "report.io",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use: the plugin's own import must stay light."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted(__all__)
