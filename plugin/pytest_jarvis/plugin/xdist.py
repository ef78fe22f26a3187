"""Runs of a session, and how the controller of pytest-xdist divides them among workers and merges their results."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import msgspec
import pytest

from pytest_jarvis.engines.base import Engine
from pytest_jarvis.metrics.registry import MetricSpec
from pytest_jarvis.plugin.workers import (
    DEVICE_KEY,
    DEVICE_VARIABLE,
    NOTES_KEY,
    REFUSED_KEY,
    count_devices,
    free_device,
    refuse,
    refuse_more_workers_than_devices,
    visible_devices,
)
from pytest_jarvis.run.benchmark import Benchmark, Group, group_cases, match_tests
from pytest_jarvis.run.runner import BenchmarkRun, Listener, RunFacts
from pytest_jarvis.types import BASE_ARM, Failure, Note, PromptCase


class WorkerNotes(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that a worker sends to the controller."""

    facts: RunFacts | None
    error: str | None
    """Why the engine could not be loaded."""
    metrics: tuple[MetricSpec, ...] = ()
    """The custom metrics."""


class Runs:
    """Runs of a session, on one engine: one for the whole plan, or on one of several workers one per group of cases."""

    def __init__(self, benchmark: Benchmark, cases: tuple[PromptCase, ...], listener: Listener, workers: int) -> None:
        """Load nothing yet; `cases` are the selected ones."""
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
        """The shared engine; an EngineError passes through."""
        return self._runs[0].engine

    def find(self, case: PromptCase) -> BenchmarkRun:
        """Return the run of a case; for another process's case, any run, to make its row without responses."""
        return self._run_of.get(case.prompt_id, self._runs[0])

    def facts(self) -> RunFacts | None:
        """Return the merged facts of the runs; None when nothing was loaded."""
        return merge_facts([facts for run in self._runs if (facts := run.facts()) is not None])

    def close(self) -> None:
        """Free the engine's memory."""
        for run in self._runs:
            run.close()

    def _load(self, benchmark: Benchmark) -> Engine:
        if self._engine is None:
            self._engine = benchmark.load()
        return self._engine


def merge_facts(facts: Sequence[RunFacts]) -> RunFacts | None:
    """Return the facts of several runs of one plan as those of one, without decisions; None without any.

    Times are added, except that the longest loading counts; the mismatched cosine is the mean.
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
        thresholds=(),
        mismatched_cosine=fmean(mismatched) if mismatched else None,
        timings_s={name: max(found) if name == "load" else sum(found) for name, found in times.items()},
        stopped_short=any(one.stopped_short for one in facts),
        reused=_add_counts([one.reused for one in facts]),
        generated=_add_counts([one.generated for one in facts]),
        store_problem=next((one.store_problem for one in facts if one.store_problem is not None), None),
    )


def _add_counts(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for one in counts for name in one)
    return {name: sum(one.get(name, 0) for one in counts) for name in names}


class Controller:
    """Plugin of the controller of pytest-xdist: assigns devices and cases to workers, and collects their notes."""

    def __init__(self, benchmark: Benchmark, workers: int) -> None:
        """Raise pytest.UsageError when the workers would load more models than there are devices."""
        self.workers = workers
        self._benchmark = benchmark
        self._devices: list[str] = []
        self._device_of: dict[str, str] = {}
        self._case_of: dict[str, PromptCase] = {}
        self._group_of: dict[str, str] = {}
        self._notes: list[WorkerNotes] = []
        self.early_notes: WorkerNotes | None = None
        """Sent with a worker's first record, for a session in which none survives."""
        self.lost: set[str] = set()
        if workers > 1 and benchmark.settings.kind.holds_model:
            self._devices = visible_devices(count_devices(), os.environ.get(DEVICE_VARIABLE))
            refuse_more_workers_than_devices(workers, len(self._devices))

    @property
    def error(self) -> str | None:
        """Why a worker could not load the engine."""
        return next((notes.error for notes in self._notes if notes.error is not None), None)

    @property
    def planned(self) -> tuple[PromptCase, ...]:
        """The selected cases."""
        selected = {case.prompt_id for case in self._case_of.values()}
        return tuple(case for case in self._benchmark.cases if case.prompt_id in selected)

    def facts(self) -> RunFacts | None:
        """Return the merged facts of the workers; if all died, those sent with a first record."""
        early = self.early_notes.facts if self.early_notes else None
        return merge_facts([notes.facts for notes in self._notes if notes.facts is not None]) or early

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """The custom metrics; all workers collect the same."""
        notes = [*self._notes, *([self.early_notes] if self.early_notes else [])]
        return max((one.metrics for one in notes), key=len, default=())

    def has_decided(self, facts: RunFacts) -> bool:
        """Return whether the facts have the decisions of the one worker that ran the whole plan."""
        return self.workers == 1 and len(self._notes) == 1 and bool(facts.decisions)

    def failures_of(self, case: PromptCase, replicates: int) -> list[Failure]:
        """Return the failures of a case whose worker died in its test; none for a case that no worker began."""
        if case.prompt_id not in self.lost:
            return []
        arms = (BASE_ARM, *(adapter.name for adapter in self._benchmark.settings.adapters))
        reason = Note("worker_died")
        return [
            Failure(prompt_id=case.prompt_id, arm=arm, replicate=replicate, stage="generate", reason=reason)
            for replicate in range(replicates)
            for arm in arms
        ]

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Assign a free device to a new worker."""
        device = free_device(self._devices, self._device_of)
        if device is not None:
            self._device_of[node.gateway.id] = device
            node.workerinput[DEVICE_KEY] = device

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take a worker's notes and free its device; raise UsageError if it refused the session."""
        self._device_of.pop(node.gateway.id, None)
        raw: Mapping[str, Any] = getattr(node, "workeroutput", None) or {}
        if REFUSED_KEY in raw:
            refuse(str(raw[REFUSED_KEY]))
        if NOTES_KEY in raw:
            self._notes.append(msgspec.convert(raw[NOTES_KEY], WorkerNotes))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Keep the plan; all workers collect the same."""
        self._case_of = match_tests(ids, self._benchmark.cases)
        groups = group_cases(self.planned, self.workers)
        self._group_of = {case.prompt_id: group.name for group in groups for case in group.cases}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Schedule the cases of a group on one worker, in the same batches, unless --dist says otherwise."""
        if self.workers < 2 or config.getoption("dist") not in {"load", "loadgroup"}:
            return None
        from xdist.scheduler import LoadScopeScheduling

        scheduling = LoadScopeScheduling(config, log)
        scheduling._split_scope = self.group_of  # noqa: SLF001  # its documentation has it overridden
        scheduling.remove_node = partial(_remove_node, scheduling, scheduling.remove_node)
        return scheduling

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """Keep the case whose worker died."""
        if (case := self._case_of.get(crashitem)) is not None:
            self.lost.add(case.prompt_id)

    def group_of(self, nodeid: str) -> str:
        """Return the name of a test's group; a test without a case is a group of its own."""
        case = self._case_of.get(nodeid)
        return nodeid if case is None else self._group_of[case.prompt_id]


def _remove_node(scheduling: Any, remove: Callable[[Any], str | None], node: Any) -> str | None:
    """Remove a worker from a scheduler by scope, in place of its `remove`; return the test that killed it, or None."""
    # The scheduler alone would give the deadly test to one new worker after another, each of which loads the model.
    begun = scheduling.assigned_work.get(node, {}).values()
    deadly = next(((unit, nodeid) for unit in begun for nodeid, is_done in unit.items() if not is_done), None)
    if deadly is None:
        return remove(node)
    unit, nodeid = deadly
    unit[nodeid] = True
    remove(node)
    return str(nodeid)
