"""The hooks that pytest calls. They do nothing without an option or a fixture of the plugin."""

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
from pytest_jarvis.plugin.options import add_options, has_options, refuse_other_root, refuse_unknown, refuse_values

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
    """Refuse a mistyped option with the nearest one, once the project's conftest.py has declared its own."""
    outcome = yield
    refuse_unknown(parser, args)
    return outcome


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers; read the configuration at once when an option of the group is given."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if has_options(config) and not config.option.help:
        refuse_values(config)
        refuse_other_root(config)
        collector = _collector(config)
        collector.check()
        collector.register_controller()


def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> list[pytest.Item] | None:
    """Collect no test whose categories these prompts lack."""
    code = getattr(obj, "__code__", None)
    if code is None or not name.startswith("test") or "jarvis_case" not in code.co_varnames[: code.co_argcount]:
        return None
    own = [marker for marker in getattr(obj, "pytestmark", ()) if marker.name == "jarvis_cases"]
    cases = _collector(collector.config).cases_for([*own, *collector.iter_markers("jarvis_cases")])
    return [] if cases == () else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test that uses `jarvis_case` with the cases of its categories."""
    if not FIXTURES.intersection(metafunc.fixturenames):
        return
    collector = _collector(metafunc.config)
    if "jarvis_case" in metafunc.fixturenames:
        collector.parametrize(metafunc)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of latency, which take minutes, unless -m names them."""
    if "latence" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("latence") is not None]
    if left_out:
        items[:] = [item for item in items if item.get_closest_marker("latence") is None]
        config.hook.pytest_deselected(items=left_out)


def _collector(config: pytest.Config) -> Collector:
    """Return the session's collector; import its module late, because every pytest run imports this one."""
    from pytest_jarvis.plugin.collection import get_collector

    return get_collector(config)
