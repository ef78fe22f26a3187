"""The object of a benchmark session while tests are collected: it reads the input and hands out the cases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_jarvis.files import InputError
from pytest_jarvis.plugin.workers import REFUSED_KEY, is_worker, pin_device, tell_controller, worker_count
from pytest_jarvis.run.benchmark import Benchmark, read_benchmark
from pytest_jarvis.types import PromptCase

if TYPE_CHECKING:
    from pytest_jarvis.inputs.contamination import Contamination
    from pytest_jarvis.metrics.custom import MetricSet
    from pytest_jarvis.plugin.session import Recorder
    from pytest_jarvis.plugin.xdist import Controller
    from pytest_jarvis.run.settings import Settings
    from pytest_jarvis.types import Response


_COLLECTOR_NAME = "jarvis-collector"
_RECORDER_NAME = "jarvis-recorder"
_CONTROLLER_NAME = "jarvis-controller"
_NO_CASE = "none"
NO_MODEL = "--jarvis-replay loads no model"
"""Why a test that asks for a model is skipped."""
_OF_A_MODEL = ("quick", "latence")
"""Markers of the tests that are about a loaded model."""


class Collector:
    """Registered only for a benchmark session. Imports little: collecting must cost nothing."""

    def __init__(self, config: pytest.Config) -> None:
        """Read options, configuration and prompts; what is wrong with them is kept until it can be said."""
        self.config = config
        pin_device(config)
        self.error: InputError | None = None
        self.benchmark: Benchmark | None = None
        try:
            self.benchmark = read_benchmark(config.option, config.rootpath, worker_count(config))
        except InputError as error:
            self.error = error

    def check(self) -> None:
        """Stop pytest with exit status 4 and one sentence when the session cannot be."""
        if self.error is not None:
            self._refuse(str(self.error))

    def _refuse(self, sentence: str) -> NoReturn:
        """Stop pytest with exit status 4; the sentence of a worker of pytest-xdist is said by the controller."""
        tell_controller(self.config, REFUSED_KEY, sentence)
        raise pytest.UsageError(sentence)

    def watch_workers(self) -> None:
        """On the controller of pytest-xdist, which collects nothing itself, register what takes the workers' records.

        Each worker loads the model where the engine holds one: more of them than devices are refused.
        """
        option = self.config.option
        distributes = getattr(option, "dist", "no") != "no" and not option.collectonly and not is_worker(self.config)
        if self.benchmark is None or not distributes:
            return
        from pytest_jarvis.plugin.xdist import Controller

        if self.benchmark.settings.detections:
            # A training may write another adapter before a worker looks: the workers are told which one it is.
            adapters = self.benchmark.settings.adapters
            option.jarvis_adapter = [f"{adapter.name}={adapter.source}" for adapter in adapters]
        controller = Controller(self.benchmark, worker_count(self.config))
        self.config.pluginmanager.register(controller, _CONTROLLER_NAME)
        self._record((), controller=controller)

    def cases_for(self, markers: Iterable[pytest.Mark]) -> tuple[PromptCase, ...] | None:
        """Return the cases that markers name; None when the input is wrong, which is said after collecting."""
        if self.benchmark is None or self.error is not None:
            return None
        try:
            return self.benchmark.cases_for(markers)
        except InputError as error:
            self.error = error
            return None

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Give the test one call for each case its marker names."""
        cases = self.cases_for(metafunc.definition.iter_markers("jarvis_cases"))
        parameters = [pytest.param(case, id=f"{case.category}-{case.prompt_id}") for case in cases or ()]
        metafunc.parametrize("jarvis_case", parameters or [pytest.param(None, id=_NO_CASE)])

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Say what is wrong with the session's input; leave out the tests of a model where none is loaded."""
        self.check()
        if self.benchmark is not None and self.benchmark.settings.replay is not None:
            for item in items:
                if any(item.get_closest_marker(name) for name in _OF_A_MODEL):
                    item.add_marker(pytest.mark.skip(reason=NO_MODEL))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Fix the plan, exactly the selected cases, and register what records their results."""
        if self.benchmark is None or self.config.option.collectonly:
            return
        selected = {case.prompt_id: case for item in session.items if (case := _case_of(item)) is not None}
        modules = {id(item.module): item.module for item in session.items if isinstance(item, pytest.Function)}
        self._record(tuple(selected.values()), modules.values())

    def _record(
        self, cases: tuple[PromptCase, ...], modules: Iterable[object] = (), controller: Controller | None = None
    ) -> None:
        from pytest_jarvis.plugin.session import Recorder

        assert self.benchmark is not None  # noqa: S101  # checked by the callers
        self._refuse_missing_libraries(self.benchmark.settings)
        try:
            self.benchmark.check_store()
        except InputError as error:
            self._refuse(str(error))
        metrics = self._metrics(self.benchmark, modules)
        recorder = self.config.stash[_RECORDER] = Recorder(self.config, self.benchmark, cases, metrics, controller)
        recorder.contamination = self._contamination(self.benchmark)
        self.config.pluginmanager.register(recorder, _RECORDER_NAME)

    def _refuse_missing_libraries(self, settings: Settings) -> None:
        if missing := settings.kind.missing():
            extra = settings.kind.extra
            bring = "install what it needs" if extra is None else f'pip install "pytest-jarvis[{extra}]"'
            self._refuse(f"--jarvis-engine {settings.engine}: {', '.join(missing)} not installed; {bring}")

    def _contamination(self, benchmark: Benchmark) -> Contamination | None:
        """Return what training data holds of the prompts; where it is named, and on the controller alone."""
        if not benchmark.settings.training_data or is_worker(self.config):
            return None
        from pytest_jarvis.inputs.contamination import search_training_data

        try:
            return search_training_data(benchmark.cases, benchmark.settings.training_data)
        except InputError as error:
            self._refuse(f"--jarvis-training-data: {error}")

    def _metrics(self, benchmark: Benchmark, modules: Iterable[object]) -> MetricSet:
        """Return the metrics of conftest files, plugins and test files; UsageError for one that cannot be."""
        from pytest_jarvis.metrics.custom import MetricSet, check_metric_bars, collect_metrics

        hook = self.config.hook.pytest_jarvis_response_metrics
        try:
            metrics = collect_metrics([*self.config.pluginmanager.get_plugins(), *modules])
            # A controller has not seen what its workers collect: they know the metrics of deeper conftest files.
            unseen = bool(hook.get_hookimpls()) or not (modules or is_worker(self.config))
            check_metric_bars(
                benchmark.settings.config.benchmark.metric_bars, [one.spec for one in metrics], open_names=unseen
            )
        except InputError as error:
            self._refuse(str(error))

        def ask(case: PromptCase, response: Response) -> list[object]:
            return list(reversed(hook(case=case, response=response)))

        return MetricSet(metrics, ask if hook.get_hookimpls() else None)


_COLLECTOR = pytest.StashKey[Collector]()
_RECORDER = pytest.StashKey["Recorder"]()


def obtain(config: pytest.Config) -> Collector:
    """Return the session's collector; make and register it at the first call."""
    collector = config.stash.get(_COLLECTOR, None)
    if collector is None:
        collector = config.stash[_COLLECTOR] = Collector(config)
        config.pluginmanager.register(collector, _COLLECTOR_NAME)
    return collector


def recorder_of(config: pytest.Config) -> Recorder:
    """Return the session's recorder; it is there as soon as tests run."""
    recorder = config.stash.get(_RECORDER, None)
    if recorder is None:
        raise pytest.UsageError(
            "no benchmark session: a fixture of pytest-jarvis must be an argument of the test, not asked for by name"
        )
    return recorder


def _case_of(item: pytest.Item) -> PromptCase | None:
    case = (
        item.callspec.params.get("jarvis_case")
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else None
    )
    return case if isinstance(case, PromptCase) else None
