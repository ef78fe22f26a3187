"""A benchmark session: its settings and prompts, the run its tests share, and the shards of several processes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from pytest_jarvis.files import InputError, suggest
from pytest_jarvis.inputs.prompts import WITH_TOOLS_FOLDER, PromptSet, load_prompts, packaged_prompts
from pytest_jarvis.run.settings import Settings, resolve
from pytest_jarvis.types import PromptCase

if TYPE_CHECKING:
    from pytest_jarvis.engines.base import Engine
    from pytest_jarvis.run.generation import Listener
    from pytest_jarvis.run.replay import PromptMatch
    from pytest_jarvis.run.runner import BenchmarkRun
    from pytest_jarvis.types import PromptCase


class Marker(Protocol):
    """A marker `jarvis_cases(*categories, exclude=())` of a test."""

    @property
    def args(self) -> tuple[Any, ...]:
        """Names of categories."""
        ...

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """Hold `exclude`, names of categories to leave out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Settings and prompts of this session."""

    settings: Settings
    prompts: PromptSet
    match: PromptMatch | None = None
    """Which prompts a replay holds; None where responses are drawn."""

    @property
    def cases(self) -> tuple[PromptCase, ...]:
        """Every case of the configured categories: what a full selection holds."""
        wanted = self.settings.config.benchmark.categories
        return tuple(case for case in self.prompts.cases if wanted is None or case.category in wanted)

    def cases_for(self, markers: Iterable[Marker]) -> tuple[PromptCase, ...]:
        """Return the cases a test asks for by `jarvis_cases(*categories, exclude=())`; all without the marker.

        A category of the packaged prompts that this folder has not gives no case; any other unknown one is an
        InputError.
        """
        chosen = tuple(case for case in self.cases if self.match is None or case.prompt_id in self.match.recorded)
        for marker in markers:
            self._refuse_unknown(marker)
            excluded = marker.kwargs.get("exclude", ())
            if marker.args:
                chosen = tuple(case for case in chosen if case.category in marker.args)
            chosen = tuple(case for case in chosen if case.category not in excluded)
        return chosen

    def _refuse_unknown(self, marker: Marker) -> None:
        known = {category.name for category in self.prompts.categories}
        for name in marker.args:
            packaged = (packaged_prompts() / f"{name}.toml", packaged_prompts() / WITH_TOOLS_FOLDER / f"{name}.toml")
            if name not in known and not any(path.is_file() for path in packaged):
                raise InputError(f"marker jarvis_cases: unknown category {name!r}{suggest(str(name), list(known))}")

    def start(
        self, cases: tuple[PromptCase, ...], listener: Listener, *, load: Callable[[], Engine] | None = None
    ) -> BenchmarkRun:
        """Return the run of the selected cases; nothing is loaded yet. `load` shares an engine among several runs."""
        from pytest_jarvis.run.runner import BenchmarkRun, Plan
        from pytest_jarvis.run.store import ResponseCache

        plan = Plan(
            cases=cases,
            adapters=self.settings.adapters,
            tools=self.prompts.tools,
            gate=self.settings.gate,
            metrics=self.settings.config.metrics,
            recording=self.settings.replay.recording if self.settings.replay else None,
        )
        cache = ResponseCache(
            self.settings.store_file,
            read=self.settings.takes_responses,
            write=self.settings.keeps_responses,
            timeout_s=self.settings.generation.timeout_s,
            on_problem=listener.store_failed,
        )
        return BenchmarkRun(plan, load=load or self.load, listener=listener, cache=cache)

    def check_store(self) -> None:
        """Raise InputError when this session would use a store and its file is not one."""
        if self.settings.takes_responses or self.settings.keeps_responses:
            from pytest_jarvis.run.store import check_store

            check_store(self.settings.store_file)

    def load(self) -> Engine:
        """Return the engine, loaded; an EngineError passes through."""
        return self.settings.kind.load(self.settings.model, self.settings.generation)


def _at_one_look(settings: Settings, workers: int) -> Settings:
    looks = settings.gate.looks
    if workers < 2 or len(looks) < 2:
        return settings
    recorded = settings.replay.recording.replicates if settings.replay else None
    return replace(settings, gate=msgspec.structs.replace(settings.gate, looks=one_look(looks, recorded)))


def read_benchmark(option: argparse.Namespace, root: Path, workers: int) -> Benchmark:
    """Return what the options, the configuration file and the prompt files say; raise InputError.

    `root` is pytest's root folder, `workers` the number of processes that share the prompts.
    """
    settings = _at_one_look(resolve(option, root), workers)
    recorded = settings.replay is not None
    with_tools = bool(settings.generation.tools) if recorded else settings.config.generation.tools
    prompts = load_prompts(settings.prompts_folder, with_tools=with_tools)
    if with_tools and not recorded:
        settings = replace(settings, generation=msgspec.structs.replace(settings.generation, tools=prompts.tools))
    known = [category.name for category in prompts.categories]
    named = settings.config.benchmark
    for key, names in (("categories", named.categories or ()), ("category_floors", named.category_floors)):
        for name in names:
            if name not in known:
                raise InputError(
                    f"configuration: benchmark: {key}: no file '{name}.toml' in {prompts.folder}{suggest(name, known)}"
                )
    benchmark = Benchmark(settings=settings, prompts=prompts)
    if settings.replay is None:
        return benchmark
    from pytest_jarvis.run.replay import match_prompts

    return replace(benchmark, match=match_prompts(settings.replay, benchmark.cases))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cases that one process draws together: a category, or a part of one."""

    name: str
    cases: tuple[PromptCase, ...]


def group_cases(cases: Sequence[PromptCase], workers: int) -> list[Group]:
    """Return the cases by category, in their order; categories fewer than the workers are cut so that all have work.

    Every process that knows the same cases and the same count makes the same groups.
    """
    categories: dict[str, list[PromptCase]] = {}
    for case in cases:
        categories.setdefault(case.category, []).append(case)
    parts = -(-workers // len(categories)) if categories else 1
    groups = []
    for name, members in categories.items():
        size = -(-len(members) // parts)
        for number, start in enumerate(range(0, len(members), size), start=1):
            groups.append(Group(name=f"{name}/{number}", cases=tuple(members[start : start + size])))
    return groups


def cases_of_tests(nodeids: Sequence[str], cases: Sequence[PromptCase]) -> dict[str, PromptCase]:
    """Return the case of each test that has one, by the id that its parameter gave the test."""
    named = {f"{case.category}-{case.prompt_id}".encode("unicode_escape").decode("ascii"): case for case in cases}
    found: dict[str, PromptCase] = {}
    for nodeid in nodeids:
        parameters = nodeid.partition("[")[2].removesuffix("]").split("-")
        spans = (
            "-".join(parameters[start:end])
            for start in range(len(parameters))
            for end in range(len(parameters), start, -1)
        )
        if (name := next((span for span in spans if span in named), None)) is not None:
            found[nodeid] = named[name]
    return found


def one_look(looks: Sequence[int], recorded: int | None = None) -> tuple[int, ...]:
    """Return the one count of responses that processes draw which do not know each other's scores: the middle look.

    `recorded` responses are all that a replay has.
    """
    having = [look for look in looks if recorded is None or look <= recorded]
    return (having[len(having) // 2],) if having else tuple(looks[:1])
