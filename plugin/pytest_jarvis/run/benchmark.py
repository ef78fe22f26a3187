"""A benchmark session: settings and prompts, how its runs start, and the shards of several processes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec.structs import replace

from pytest_jarvis.files import InputError, suggest
from pytest_jarvis.inputs.prompts import PromptSet, further_prompts, load_prompts, packaged_prompts
from pytest_jarvis.run.settings import Settings, resolve
from pytest_jarvis.types import PromptCase

if TYPE_CHECKING:
    from pytest_jarvis.engines.base import Engine
    from pytest_jarvis.run.replay import PromptMatch
    from pytest_jarvis.run.runner import BenchmarkRun, Listener


class Marker(Protocol):
    """A marker `jarvis_cases(*categories, exclude=())` of a test."""

    @property
    def args(self) -> tuple[Any, ...]:
        """Names of categories."""

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """`exclude`: names of categories to leave out."""


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """Settings and prompts of a session."""

    settings: Settings
    prompts: PromptSet
    match: PromptMatch | None = None
    """The prompts that a replay holds; None without one."""

    @property
    def cases(self) -> tuple[PromptCase, ...]:
        """Every case of the configured categories: a full selection."""
        wanted = self.settings.config.benchmark.categories
        return tuple(case for case in self.prompts.cases if wanted is None or case.category in wanted)

    def cases_for(self, markers: Iterable[Marker]) -> tuple[PromptCase, ...]:
        """Return the cases of `jarvis_cases` markers; InputError for a category unknown here and in the package."""
        most, seed = self.settings.config.benchmark.num_prompts, self.settings.config.generation.seed
        cases = self.cases if most is None else draw_part(self.cases, most, seed)
        chosen = tuple(case for case in cases if self.match is None or case.prompt_id in self.match.recorded)
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
            if name not in known and not any(packaged_prompts().rglob(f"{name}.toml")):
                raise InputError(f"marker jarvis_cases: unknown category {name!r}{suggest(str(name), list(known))}")

    def start(
        self, cases: tuple[PromptCase, ...], listener: Listener, *, load: Callable[[], Engine] | None = None
    ) -> BenchmarkRun:
        """Return the run of the selected cases, not yet loaded; `load` shares an engine among several runs."""
        from pytest_jarvis.run.runner import BenchmarkRun, Plan
        from pytest_jarvis.run.store import ResponseCache

        plan = Plan(
            cases=cases,
            adapters=self.settings.adapters,
            tools=self.prompts.tools,
            gate=self.settings.gate,
            bars=self.settings.config.benchmark,
            metrics=self.settings.config.metrics,
            recording=self.settings.replay.recording if self.settings.replay else None,
        )
        cache = ResponseCache(
            self.settings.store_path,
            read=self.settings.reads_store,
            write=self.settings.writes_store,
            timeout_s=self.settings.generation.timeout_s,
            on_problem=listener.show_store_problem,
        )
        return BenchmarkRun(plan, load=load or self.load, listener=listener, cache=cache)

    def check_store(self) -> None:
        """Raise InputError when this session uses a store and its file is none."""
        if self.settings.reads_store or self.settings.writes_store:
            from pytest_jarvis.run.store import check_store

            check_store(self.settings.store_path)

    def load(self) -> Engine:
        """Return the loaded engine; an EngineError passes through."""
        return self.settings.kind.load(self.settings.model, self.settings.generation)


def draw_part(cases: Sequence[PromptCase], most: int, seed: int) -> tuple[PromptCase, ...]:
    """Return at most `most` cases in their order, each category by its share, drawn by `seed`."""
    drawn: list[tuple[float, str, PromptCase]] = []
    for group in group_cases(cases, 1):
        numbers = {case.prompt_id: sha256(f"{seed} {case.prompt_id}".encode()).hexdigest() for case in group.cases}
        ordered = sorted(group.cases, key=lambda case: numbers[case.prompt_id])
        # The places of a category are spread evenly over those of all, whatever its size.
        drawn += [((place + 0.5) / len(ordered), numbers[case.prompt_id], case) for place, case in enumerate(ordered)]
    kept = {case.prompt_id for _, _, case in sorted(drawn, key=lambda one: one[:2])[:most]}
    return tuple(case for case in cases if case.prompt_id in kept)


def _fix_look(settings: Settings, workers: int) -> Settings:
    looks = settings.gate.looks
    if workers < 2 or len(looks) < 2:
        return settings
    recorded = settings.replay.recording.replicates if settings.replay else None
    return replace(settings, gate=replace(settings.gate, looks=choose_look(looks, recorded)))


def read_benchmark(option: argparse.Namespace, root: Path, workers: int) -> Benchmark:
    """Return settings and prompts for `workers` processes below pytest's `root`; InputError for invalid ones."""
    settings = _fix_look(resolve(option, root), workers)
    recorded = settings.replay is not None
    with_tools = bool(settings.generation.tools) if recorded else settings.config.generation.tools
    further = further_prompts(tools=with_tools, guards=settings.config.benchmark.guards)
    prompts = load_prompts(settings.prompts_folder, add=further)
    if with_tools and not recorded:
        settings = replace(settings, generation=replace(settings.generation, tools=prompts.tools))
    known = [category.name for category in prompts.categories]
    named = settings.config.benchmark
    for key, names in (("categories", named.categories or ()), ("category_floors", named.category_floors)):
        for name in names:
            if name not in known:
                raise InputError(
                    f"configuration: benchmark: {key}: no file '{name}.toml' in {prompts.folder}{suggest(name, known)}"
                )
    benchmark = Benchmark(settings=settings, prompts=prompts)
    if settings.replay is None or settings.replay.report is None:
        return benchmark
    from pytest_jarvis.run.replay import match_prompts

    return replace(benchmark, match=match_prompts(settings.replay, benchmark.cases))


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Cases whose responses one process generates together: a category, or a part of one."""

    name: str
    cases: tuple[PromptCase, ...]


def group_cases(cases: Sequence[PromptCase], workers: int) -> list[Group]:
    """Return the cases by category, each split when there are fewer than workers; the same in every process."""
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


def match_tests(nodeids: Sequence[str], cases: Sequence[PromptCase]) -> dict[str, PromptCase]:
    """Return test id -> case, for the tests whose id ends with the parameters of a case."""
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


def choose_look(looks: Sequence[int], recorded: int | None = None) -> tuple[int, ...]:
    """Return the middle look, at most `recorded`: the count for processes that do not know each other's scores."""
    possible = [look for look in looks if recorded is None or look <= recorded]
    return (possible[len(possible) // 2],) if possible else tuple(looks[:1])
