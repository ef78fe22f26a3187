"""Under pytest-xdist: what the controller tells its workers and they tell it, and what a worker that died leaves."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_jarvis.metrics.registry import MetricSpec
from pytest_jarvis.plugin.workers import (
    DEVICE_KEY,
    DEVICE_VARIABLE,
    NOTES_KEY,
    REFUSED_KEY,
    count_devices,
    free_device,
    refuse_more_workers_than_devices,
    visible_devices,
)
from pytest_jarvis.run.benchmark import Group, cases_of_tests, group_cases
from pytest_jarvis.run.runner import RunFacts
from pytest_jarvis.types import BASE_ARM, Failure, Note, PromptCase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_jarvis.engines.base import Engine
    from pytest_jarvis.run.benchmark import Benchmark
    from pytest_jarvis.run.generation import Listener
    from pytest_jarvis.run.runner import BenchmarkRun


class WorkerNotes(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker of pytest-xdist tells the controller when it is done."""

    facts: RunFacts | None
    error: str | None
    """Why no engine could be had, in one sentence."""
    metrics: tuple[MetricSpec, ...] = ()
    """Those that others declared."""


class Runs:
    """The runs of a session: one for the whole plan, or on one of several workers one for each group of cases.

    All are on one engine, loaded at its first use.
    """

    def __init__(self, benchmark: Benchmark, cases: tuple[PromptCase, ...], listener: Listener, workers: int) -> None:
        """`cases` are the selected ones; nothing is loaded yet."""
        self.cases = cases
        self._engine: Engine | None = None
        whole = [Group(name="", cases=cases)]
        groups = group_cases(cases, workers) if workers > 1 and cases else whole
        self._runs = [benchmark.start(group.cases, listener, load=partial(self._load, benchmark)) for group in groups]
        self._run_of = {
            case.prompt_id: run for run, group in zip(self._runs, groups, strict=True) for case in group.cases
        }

    @property
    def engine(self) -> Engine:
        """The one engine; an EngineError passes through."""
        return self._runs[0].engine

    def of(self, case: PromptCase) -> BenchmarkRun:
        """Return the run that draws a case, or the one that knows how a row without responses looks."""
        return self._run_of.get(case.prompt_id, self._runs[0])

    def facts(self) -> RunFacts | None:
        """Return what is known beside the rows; of several runs, together: None when nothing was loaded."""
        return merged_facts([facts for run in self._runs if (facts := run.facts()) is not None])

    def close(self) -> None:
        """Give the engine's memory back; some runs of it may never have begun."""
        for run in self._runs:
            run.close()

    def _load(self, benchmark: Benchmark) -> Engine:
        if self._engine is None:
            self._engine = benchmark.load()
        return self._engine


def merged_facts(facts: Sequence[RunFacts]) -> RunFacts | None:
    """Return the facts of several runs of one plan as those of one; None without any.

    Times are added but for the loading, the longest; the mismatched cosine is the mean of theirs. No decision holds.
    """
    if len(facts) < 2:
        return facts[0] if facts else None
    names = dict.fromkeys(name for one in facts for name in one.timings_s)
    times = {name: [one.timings_s[name] for one in facts if name in one.timings_s] for name in names}
    mismatched = [one.mismatched_cosine for one in facts if one.mismatched_cosine is not None]
    most = max(facts, key=lambda one: one.samples_per_prompt)
    return replace(
        most,
        decisions={},
        mismatched_cosine=fmean(mismatched) if mismatched else None,
        timings_s={name: max(found) if name == "load" else sum(found) for name, found in times.items()},
        stopped_short=any(one.stopped_short for one in facts),
        reused=_added([one.reused for one in facts]),
        generated=_added([one.generated for one in facts]),
        store_problem=next((one.store_problem for one in facts if one.store_problem is not None), None),
    )


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for one in counts for name in one)
    return {name: sum(one.get(name, 0) for one in counts) for name in names}


class Controller:
    """Registered on the controller of pytest-xdist: shares out devices and cases, and keeps what workers tell."""

    def __init__(self, benchmark: Benchmark, workers: int) -> None:
        """Raise pytest.UsageError when more workers would load a model than there are devices."""
        self.workers = workers
        self._benchmark = benchmark
        self._devices: list[str] = []
        self._device_of: dict[str, str] = {}
        self._case_of: dict[str, PromptCase] = {}
        self._group_of: dict[str, str] = {}
        self._notes: list[WorkerNotes] = []
        self._early_notes: WorkerNotes | None = None
        self.lost: set[str] = set()
        if workers > 1 and benchmark.settings.kind.holds_model:
            self._devices = visible_devices(count_devices(), os.environ.get(DEVICE_VARIABLE))
            refuse_more_workers_than_devices(workers, len(self._devices))

    @property
    def error(self) -> str | None:
        """Why a worker had no engine, in one sentence."""
        return next((notes.error for notes in self._notes if notes.error is not None), None)

    @property
    def planned(self) -> tuple[PromptCase, ...]:
        """The selected cases."""
        selected = {case.prompt_id for case in self._case_of.values()}
        return tuple(case for case in self._benchmark.cases if case.prompt_id in selected)

    def facts(self) -> RunFacts | None:
        """Return what the workers know beside their rows; of those that died, what came with a first test."""
        early = self._early_notes.facts if self._early_notes else None
        return merged_facts([notes.facts for notes in self._notes if notes.facts is not None]) or early

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """The metrics that others declared where the workers collected; all collect the same."""
        told = [*self._notes, *([self._early_notes] if self._early_notes else [])]
        return max((notes.metrics for notes in told), key=len, default=())

    def hear(self, notes: WorkerNotes) -> None:
        """Take what came with a worker's first record, should none of them live to tell more."""
        self._early_notes = notes

    def has_decided(self, facts: RunFacts) -> bool:
        """Whether the decisions are those of the one worker that drew the whole plan."""
        return self.workers == 1 and len(self._notes) == 1 and bool(facts.decisions)

    def failures_of(self, case: PromptCase, replicates: int) -> list[Failure]:
        """Return the responses of a case that died with its worker; none for a case that no worker began."""
        if case.prompt_id not in self.lost:
            return []
        arms = (BASE_ARM, *(adapter.name for adapter in self._benchmark.settings.adapters))
        return [
            Failure(
                prompt_id=case.prompt_id, arm=arm, replicate=replicate, stage="generate", reason=Note("worker_died")
            )
            for replicate in range(replicates)
            for arm in arms
        ]

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give a new worker a device that no living one has."""
        device = free_device(self._devices, self._device_of)
        if device is not None:
            self._device_of[node.gateway.id] = device
            node.workerinput[DEVICE_KEY] = device

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker tells, and its device back; UsageError with the sentence of one that had to stop."""
        self._device_of.pop(node.gateway.id, None)
        raw: Mapping[str, Any] = getattr(node, "workeroutput", None) or {}
        if REFUSED_KEY in raw:
            raise pytest.UsageError(str(raw[REFUSED_KEY]))
        if NOTES_KEY in raw:
            self._notes.append(msgspec.convert(raw[NOTES_KEY], WorkerNotes))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Take note of the plan; all workers collect the same."""
        self._case_of = cases_of_tests(ids, self._benchmark.cases)
        groups = group_cases(self.planned, self.workers)
        self._group_of = {case.prompt_id: group.name for group in groups for case in group.cases}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Give the cases of a group to one worker, which draws them in the same batches; another --dist stands."""
        if self.workers < 2 or config.getoption("dist") not in {"load", "loadgroup"}:
            return None
        from xdist.scheduler import LoadScopeScheduling

        scheduling = LoadScopeScheduling(config, log)
        scheduling._split_scope = self.group_of  # noqa: SLF001  # its documentation has it overridden
        scheduling.remove_node = partial(_remove_node, scheduling, scheduling.remove_node)
        return scheduling

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """Take note of the case whose worker died."""
        if (case := self._case_of.get(crashitem)) is not None:
            self.lost.add(case.prompt_id)

    def group_of(self, nodeid: str) -> str:
        """Return the name of the group that a test belongs to; a test without a case is a group of its own."""
        case = self._case_of.get(nodeid)
        return nodeid if case is None else self._group_of[case.prompt_id]


def _remove_node(scheduling: Any, remove: Callable[[Any], str | None], node: Any) -> str | None:
    """Take a worker out of a scheduler by scope, whose `remove` this stands for; return the test it died of, or None.

    What else it had to do goes to others. The scheduler alone would hand them the deadly test too, on one new worker
    after another, each of which loads the model.
    """
    begun = scheduling.assigned_work.get(node, {}).values()
    deadly = next(((unit, nodeid) for unit in begun for nodeid, is_done in unit.items() if not is_done), None)
    if deadly is None:
        return remove(node)
    unit, nodeid = deadly
    unit[nodeid] = True
    remove(node)
    return str(nodeid)
