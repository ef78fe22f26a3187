"""`run.runner` with a store: what is drawn before is not drawn again, and a report cannot tell but by its marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from runs import CASES, LORA, OTHER, TWIN, WatchedEngine, better, failed, make

from pytest_jarvis.engines.base import OnProgress
from pytest_jarvis.metrics.custom import NO_METRICS
from pytest_jarvis.run.runner import BenchmarkRun, RunFacts
from pytest_jarvis.run.store import ResponseCache
from pytest_jarvis.types import TWIN_ARM, AdapterSpec, Failure, Request, Response

DEAD: list[BenchmarkRun] = []
"""The runs that died in a test, whose stores are closed only when it is over."""


class Killed(BaseException):
    """The death of a process, as far as a test can have it in its own."""


class MortalEngine(WatchedEngine):
    """Keeps the requests that it answered, and dies after a number of them if it is told to."""

    answered: list[Request]
    dies_after: int | None

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        for outcome in super().generate(requests, on_progress):
            if len(self.answered) == self.dies_after:
                raise Killed
            self.answered.append(next(request for request in requests if request.key == outcome.key))
            yield outcome


class Drawn:
    """A run, drawn to its end or to its death."""

    def __init__(
        self,
        path: Path,
        *adapters: AdapterSpec,
        dies_after: int | None = None,
        engine: MortalEngine | None = None,
        **options: object,
    ) -> None:
        adapters = adapters or (LORA,)
        real = tuple(adapter for adapter in adapters if adapter.name != TWIN_ARM)
        self.engine = engine or MortalEngine(better, real)
        self.engine.answered, self.engine.dies_after = [], dies_after
        cache = ResponseCache(path, read=True, write=True)
        made = make(better, adapters=adapters, engine=self.engine, cache=cache, **options)  # type: ignore[arg-type]
        self.run = made.run
        try:
            self.run.generate()
        except Killed:
            # The death of a process closes nothing; the next run finds the store as it is now.
            DEAD.append(self.run)
            return
        self.run.close()
        self.log = [event for event in made.log.events if event.startswith(("recalled", "drawn"))]

    @property
    def facts(self) -> RunFacts:
        facts = self.run.facts()
        assert facts is not None
        return facts

    def arms_asked(self) -> Mapping[str, int]:
        arms = [request.arm for request in self.engine.answered]
        return {arm: arms.count(arm) for arm in dict.fromkeys(arms)}

    def samples(self) -> dict[tuple[str, str, int], tuple[str, float | None, bool]]:
        return {
            (row.prompt_id, sample.arm, sample.replicate): (
                sample.text,
                sample.score("jarvis_relevance"),
                sample.reused,
            )
            for case in self.run.plan.cases
            for row in self.run.rows(case, NO_METRICS)
            for sample in row.samples
        }

    def scored(self) -> object:
        """Return all that a report shows of the rows, but for the marks and the times."""
        rows = [row for case in self.run.plan.cases for row in self.run.rows(case, NO_METRICS)]
        texts = {key: value[:2] for key, value in self.samples().items()}
        cosines = [row.figure("cosine_similarity").finetuned for row in rows]
        return texts, cosines, dict(self.facts.decisions), self.facts.mismatched_cosine


@pytest.fixture(autouse=True)
def buried() -> Iterator[None]:
    """Close after a test what the death of a process would have let go of."""
    yield
    while DEAD:
        DEAD.pop().close()


def test_a_second_run_draws_nothing_and_finds_the_same(path) -> None:
    first, second = Drawn(path), Drawn(path)
    assert len(first.engine.answered) == 12
    assert second.engine.answered == []
    assert second.engine.embedded == []
    assert first.scored() == second.scored()
    assert second.log == ["recalled 2: 12/12"]


@pytest.mark.parametrize("moment", range(13))
def test_a_run_that_died_draws_only_what_is_missing_and_finds_what_an_uninterrupted_one_does(
    path, tmp_path, moment: int
) -> None:
    whole = Drawn(tmp_path / "other.sqlite")
    Drawn(path, dies_after=moment)
    resumed = Drawn(path)
    assert len(resumed.engine.answered) == 12 - moment
    assert whole.scored() == resumed.scored()
    assert sum(reused for _, _, reused in resumed.samples().values()) == moment
    assert sum(resumed.facts.reused.values()) == moment


def test_an_adapter_beside_a_known_one_is_drawn_alone(path) -> None:
    Drawn(path, LORA)
    assert Drawn(path, LORA, OTHER).arms_asked() == {"autre": 6}


def test_more_replicates_draw_only_those_that_are_new(path) -> None:
    Drawn(path)
    more = Drawn(path, looks=(5,))
    assert more.arms_asked() == {"base": 9, "lora": 9}
    assert {request.replicate for request in more.engine.answered} == {2, 3, 4}


def test_another_metric_or_keyword_draws_nothing(path) -> None:
    Drawn(path)
    cases = tuple(replace(case, category="autre", keywords=("bruit",)) for case in CASES)
    changed = Drawn(path, cases=cases, keyword_mode="substring")
    assert changed.engine.answered == []
    assert changed.run.rows(cases[0], NO_METRICS)[0].figure("keyword_share").base == 1.0


def test_a_prompt_of_the_same_id_with_another_text_is_drawn(path) -> None:
    Drawn(path)
    cases = (replace(CASES[0], text="ferme tout"), *CASES[1:])
    assert {request.prompt_id for request in Drawn(path, cases=cases).engine.answered} == {"p0"}


def test_the_twin_is_kept_and_taken_under_its_own_name(path) -> None:
    first, second = Drawn(path, TWIN), Drawn(path, TWIN)
    assert len(first.engine.answered) == 12
    assert second.engine.answered == []
    assert second.facts.reused == {"base": 6, TWIN_ARM: 6}
    assert first.scored() == second.scored()


def test_an_a_a_run_takes_the_base_of_another_run_and_draws_the_twin(path) -> None:
    Drawn(path, LORA)
    twin = Drawn(path, TWIN)
    assert twin.facts.reused == {"base": 6, TWIN_ARM: 0}
    assert twin.facts.generated == {"base": 0, TWIN_ARM: 6}


def test_failures_are_asked_for_again(path) -> None:
    def with_script(script: Callable[[Request], str | Failure]) -> Drawn:
        engine = MortalEngine(script, (LORA,))
        engine._script_digest = "one model, whose luck varies"
        return Drawn(path, engine=engine)

    unlucky = with_script(lambda one: failed(one, "timeout") if one.key == ("p1", "lora", 0) else better(one))
    assert len(unlucky.run.failures(CASES[1])) == 1
    again = with_script(better)
    assert [request.key for request in again.engine.answered] == [("p1", "lora", 0)]
    assert again.run.failures(CASES[1]) == []


def test_the_drawing_is_told_of_what_is_missing_alone(path) -> None:
    Drawn(path, dies_after=5)
    assert Drawn(path).log == ["recalled 2: 5/12", "drawn 2: 7/7"]


def test_a_run_that_finds_nothing_says_nothing_of_a_store(path) -> None:
    assert Drawn(path).log == ["drawn 2: 12/12"]
