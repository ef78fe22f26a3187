"""Collection of a benchmark session: read the input, parametrize tests with the cases, register the recorder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_jarvis.files import InputError
from pytest_jarvis.plugin.workers import REFUSED_KEY, is_worker, pin_device, refuse, tell_controller, worker_count
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
NO_MODEL = "--jarvis-replay and --jarvis-answers load no model"
"""Reason to skip a test that needs a model."""
_OF_A_MODEL = ("quick", "latence")  # Markers of the tests of a loaded model.


class Collector:
    """Plugin of a benchmark session; imports little, because collecting must cost nothing."""

    def __init__(self, config: pytest.Config) -> None:
        """Read options, configuration and prompts; keep an error until pytest can show it."""
        self.config = config
        pin_device(config)
        self.error: InputError | None = None
        self.benchmark: Benchmark | None = None
        try:
            self.benchmark = read_benchmark(config.option, config.rootpath, worker_count(config))
        except InputError as error:
            self.error = error

    def check(self) -> None:
        """Raise pytest.UsageError for an error in the input."""
        if self.error is not None:
            self._refuse(str(self.error))
        option = self.config.option
        if getattr(option, "forked", False):
            self._refuse("--forked: each test would draw all responses in a process of its own; leave it out")
        asks_server = self.benchmark is not None and self.benchmark.settings.kind.asks_server
        if asks_server and getattr(option, "disable_socket", False) and not getattr(option, "allow_hosts", None):
            self._refuse("--disable-socket: the server cannot be asked; leave it out, or add --allow-hosts=HOST")

    def _refuse(self, sentence: str) -> NoReturn:
        """Raise pytest.UsageError, which the controller of pytest-xdist repeats for a worker."""
        tell_controller(self.config, REFUSED_KEY, sentence)
        refuse(sentence)

    def register_controller(self) -> None:
        """Register controller and recorder on the controller of pytest-xdist, which collects nothing itself.

        Raises pytest.UsageError when the workers would load more models than there are devices.
        """
        option = self.config.option
        distributes = getattr(option, "dist", "no") != "no" and not option.collectonly and not is_worker(self.config)
        if self.benchmark is None or not distributes:
            return
        from pytest_jarvis.plugin.xdist import Controller

        if self.benchmark.settings.detections:
            # Name the adapter to the workers: a training may write another one before they look for it.
            adapters = self.benchmark.settings.adapters
            option.jarvis_adapter = [f"{adapter.name}={adapter.source}" for adapter in adapters]
        controller = Controller(self.benchmark, worker_count(self.config))
        self.config.pluginmanager.register(controller, _CONTROLLER_NAME)
        self._record((), controller=controller)

    def cases_for(self, markers: Iterable[pytest.Mark]) -> tuple[PromptCase, ...] | None:
        """Return the cases that markers name; None after an error, which is shown once collection ends."""
        if self.benchmark is None or self.error is not None:
            return None
        try:
            return self.benchmark.cases_for(markers)
        except InputError as error:
            self.error = error
            return None

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize the test with the cases of its markers."""
        cases = self.cases_for(metafunc.definition.iter_markers("jarvis_cases"))
        parameters = [pytest.param(case, id=f"{case.category}-{case.prompt_id}") for case in cases or ()]
        metafunc.parametrize("jarvis_case", parameters or [pytest.param(None, id=_NO_CASE)])

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Raise an error in the input; skip the tests of a model in a replay."""
        self.check()
        if self.benchmark is not None and self.benchmark.settings.replay is not None:
            for item in items:
                if any(item.get_closest_marker(name) for name in _OF_A_MODEL):
                    item.add_marker(pytest.mark.skip(reason=NO_MODEL))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Register the recorder of the selected cases."""
        if self.benchmark is None or self.config.option.collectonly:
            return
        selected = {case.prompt_id: case for item in session.items if (case := _find_case(item)) is not None}
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
        """Search the training data for the prompts, if there is any, and not on a worker."""
        if not benchmark.settings.training_data or is_worker(self.config):
            return None
        from pytest_jarvis.inputs.contamination import search_training_data

        try:
            return search_training_data(benchmark.cases, benchmark.settings.training_data)
        except InputError as error:
            self._refuse(f"--jarvis-training-data: {error}")

    def _metrics(self, benchmark: Benchmark, modules: Iterable[object]) -> MetricSet:
        """Return the metrics of conftest files, plugins and test files; raise UsageError for an invalid one."""
        from pytest_jarvis.metrics.custom import MetricSet, check_metric_bars, collect_metrics

        hook = self.config.hook.pytest_jarvis_response_metrics
        try:
            metrics = collect_metrics([*self.config.pluginmanager.get_plugins(), *modules])
            # Only the workers of a controller see the metrics of test files and deeper conftest files.
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


def get_collector(config: pytest.Config) -> Collector:
    """Return the session's collector; create and register it at the first call."""
    collector = config.stash.get(_COLLECTOR, None)
    if collector is None:
        collector = config.stash[_COLLECTOR] = Collector(config)
        config.pluginmanager.register(collector, _COLLECTOR_NAME)
    return collector


def get_recorder(config: pytest.Config) -> Recorder:
    """Return the session's recorder, which exists once tests run; raise UsageError before."""
    recorder = config.stash.get(_RECORDER, None)
    if recorder is None:
        raise pytest.UsageError(
            "no benchmark session: a fixture of pytest-jarvis must be an argument of the test, not asked for by name"
        )
    return recorder


def _find_case(item: pytest.Item) -> PromptCase | None:
    case = item.callspec.params.get("jarvis_case") if hasattr(item, "callspec") else None
    return case if isinstance(case, PromptCase) else None
