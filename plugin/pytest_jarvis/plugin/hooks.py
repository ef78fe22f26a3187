"""The pytest plugin. Inert unless a test asks for a fixture of it or an option of its group is given."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from pytest_jarvis.plugin import hookspecs
from pytest_jarvis.plugin.fixtures import (
    FIXTURES,
    base_model,
    jarvis_engine,
    jarvis_measure,
    jarvis_show,
    lora_model,
    lora_models,
)
from pytest_jarvis.plugin.options import add_options, is_asked_for, refuse_other_root, refuse_unknown, refuse_values

if TYPE_CHECKING:
    from pytest_jarvis.plugin.collection import Collector


__all__ = ["base_model", "jarvis_engine", "jarvis_measure", "jarvis_show", "lora_model", "lora_models"]

MARKERS = (
    "quick: four tests that say in a minute whether models load and answer here.",
    "latence: time to first token and tokens per second at batch size 1; runs only when -m names it.",
    "jarvis_cases(*categories, exclude=()): which prompt categories the argument `jarvis_case` runs through.",
)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that others may implement."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> Generator[None, object, object]:
    """Name the nearest option for a mistyped one, once the project's own conftest.py has declared what it has."""
    outcome = yield
    refuse_unknown(parser, args)
    return outcome


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers; read the configuration at once when an option of the group is given."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if is_asked_for(config) and not config.option.help:
        refuse_values(config)
        refuse_other_root(config)
        collector = _collector(config)
        collector.check()
        collector.watch_workers()


def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> list[pytest.Item] | None:
    """Make no test of a function whose categories this set of prompts has not."""
    code = getattr(obj, "__code__", None)
    if code is None or not name.startswith("test") or "jarvis_case" not in code.co_varnames[: code.co_argcount]:
        return None
    own = [marker for marker in getattr(obj, "pytestmark", ()) if marker.name == "jarvis_cases"]
    cases = _collector(collector.config).cases_for([*own, *collector.iter_markers("jarvis_cases")])
    return [] if cases == () else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `jarvis_case` once for each case of its categories."""
    if not FIXTURES.intersection(metafunc.fixturenames):
        return
    collector = _collector(metafunc.config)
    if "jarvis_case" in metafunc.fixturenames:
        collector.parametrize(metafunc)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of latency out unless they are asked for by -m: they take minutes and say nothing of quality."""
    if "latence" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("latence") is not None]
    if left_out:
        items[:] = [item for item in items if item.get_closest_marker("latence") is None]
        config.hook.pytest_deselected(items=left_out)


def _collector(config: pytest.Config) -> Collector:
    """Return the session's collector, made and registered at the first call."""
    from pytest_jarvis.plugin.collection import obtain

    return obtain(config)
