"""`run.runner` with a store: what is drawn before is not drawn again, and a report cannot tell but by its marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pytest_jarvis.engines.base import OnProgress
from pytest_jarvis.engines.scripted import ScriptedEngine
from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.metrics.custom import NO_METRICS
from pytest_jarvis.run.runner import BenchmarkRun, Plan, RunFacts
from pytest_jarvis.run.store import ResponseCache
from pytest_jarvis.types import (
    TWIN_ARM,
    AdapterSpec,
    EngineDescription,
    Failure,
    GatePlan,
    GenerationSettings,
    ModelSpec,
    Progress,
    PromptCase,
    Request,
    Response,
    StoreProblem,
    Tool,
    text_note,
)

TOOLS = (
    Tool(name="open_tool", description="", parameters={}, terms=("ouvre", "application", "logiciel", "lance")),
    Tool(name="mute_tool", description="", parameters={}, terms=("silence", "muet", "sourdine")),
)
CASES = tuple(
    PromptCase(prompt_id=f"p{number}", category="c", text=f"ouvre {number}", keywords=("ouvre", "son"))
    for number in range(3)
)
LORA, OTHER = AdapterSpec(name="lora", source="x"), AdapterSpec(name="autre", source="y")
TWIN = AdapterSpec(name=TWIN_ARM, source="base")


def answer(request: Request) -> str | Failure:
    """Answer vaguely as the base, to the point as an adapter."""
    return f"Bruit {request.replicate}." if request.arm == "base" else f"J'ouvre l'application {request.replicate}."


DEAD: list[BenchmarkRun] = []
"""The runs that died in a test, whose stores are closed only when it is over."""


class Killed(BaseException):
    """The death of a process, as far as a test can have it in its own."""


class CountingEngine(ScriptedEngine):
    """Counts what it is asked, and dies after a number of responses if it is told to."""

    def __init__(self, adapters: tuple[AdapterSpec, ...], dies_after: int | None, settings: GenerationSettings) -> None:
        super().__init__(ModelSpec(adapters=adapters), settings, answer)
        self.asked: list[Request] = []
        self.embedded: list[str] = []
        self._dies_after = dies_after

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        for outcome in super().generate(requests, on_progress):
            if len(self.asked) == self._dies_after:
                raise Killed
            self.asked.append(next(request for request in requests if request.key == outcome.key))
            yield outcome

    def embed(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32] | None]:
        self.embedded += texts
        return super().embed(texts)


class Log(list[str]):
    """A listener that keeps what concerns the store."""

    def loading(self) -> None: ...

    def loaded(self, description: EngineDescription, seconds: float) -> None: ...

    def recalled(self, look: int, taken: int, planned: int) -> None:
        self.append(f"recalled {look}: {taken}/{planned}")

    def store_failed(self, problem: StoreProblem) -> None: ...

    def drawing(self, look: int, progress: Progress) -> None: ...

    def drawn(self, look: int, progress: Progress) -> None:
        self.append(f"drawn {look}: {progress.responses_planned}")


class Drawn:
    """A run, drawn to its end or to its death."""

    def __init__(
        self,
        path: Path,
        *adapters: AdapterSpec,
        reuse: bool = True,
        looks: tuple[int, ...] = (2,),
        dies_after: int | None = None,
        metrics: MetricsSection | None = None,
        cases: tuple[PromptCase, ...] = CASES,
        settings: GenerationSettings | None = None,
    ) -> None:
        adapters = adapters or (LORA,)
        real = tuple(adapter for adapter in adapters if adapter.name != TWIN_ARM)
        self.engine = CountingEngine(real, dies_after, settings or GenerationSettings())
        self.log = Log()
        plan = Plan(
            cases=cases, adapters=adapters, gate=GatePlan(looks=looks), tools=TOOLS, metrics=metrics or MetricsSection()
        )
        cache = ResponseCache(path, read=reuse, write=True)
        self.run = BenchmarkRun(plan, load=lambda: self.engine, listener=self.log, cache=cache)
        try:
            self.run.draw()
        except Killed:
            # The death of a process closes nothing; the next run finds the store as it is now.
            DEAD.append(self.run)
            return
        self.run.close()

    @property
    def facts(self) -> RunFacts:
        facts = self.run.facts()
        assert facts is not None
        return facts

    def arms_asked(self) -> Mapping[str, int]:
        arms = [request.arm for request in self.engine.asked]
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".jarvis" / "responses.sqlite"


def test_a_second_run_draws_nothing_and_finds_the_same(path: Path) -> None:
    first, second = Drawn(path), Drawn(path)
    assert len(first.engine.asked) == 12
    assert second.engine.asked == []
    assert second.engine.embedded == []
    assert first.scored() == second.scored()
    assert second.log == ["recalled 2: 12/12"]


def test_without_the_option_everything_is_drawn_again(path: Path) -> None:
    Drawn(path)
    again = Drawn(path, reuse=False)
    assert len(again.engine.asked) == 12
    assert again.engine.embedded != []
    assert not any(reused for _, _, reused in again.samples().values())


@pytest.mark.parametrize("moment", range(13))
def test_a_run_that_died_draws_only_what_is_missing_and_finds_what_an_uninterrupted_one_does(
    path: Path, tmp_path: Path, moment: int
) -> None:
    whole = Drawn(tmp_path / "other.sqlite")
    Drawn(path, dies_after=moment)
    resumed = Drawn(path)
    assert len(resumed.engine.asked) == 12 - moment
    assert whole.scored() == resumed.scored()
    assert sum(reused for _, _, reused in resumed.samples().values()) == moment
    assert sum(resumed.facts.reused.values()) == moment


def test_a_second_adapter_draws_no_response_of_the_base(path: Path) -> None:
    Drawn(path, LORA)
    second = Drawn(path, OTHER)
    assert second.arms_asked() == {"autre": 6}
    assert second.facts.reused == {"base": 6, "autre": 0}
    assert second.facts.generated == {"base": 0, "autre": 6}


def test_an_adapter_beside_a_known_one_is_drawn_alone(path: Path) -> None:
    Drawn(path, LORA)
    assert Drawn(path, LORA, OTHER).arms_asked() == {"autre": 6}


def test_more_replicates_draw_only_those_that_are_new(path: Path) -> None:
    Drawn(path)
    more = Drawn(path, looks=(5,))
    assert more.arms_asked() == {"base": 9, "lora": 9}
    assert {request.replicate for request in more.engine.asked} == {2, 3, 4}


def test_another_metric_or_keyword_draws_nothing(path: Path) -> None:
    Drawn(path)
    cases = tuple(
        PromptCase(prompt_id=case.prompt_id, category="autre", text=case.text, keywords=("bruit",)) for case in CASES
    )
    changed = Drawn(path, cases=cases, metrics=MetricsSection(keyword_mode="substring"))
    assert changed.engine.asked == []
    assert changed.run.rows(cases[0], NO_METRICS)[0].figure("keyword_match").base == 1.0


@pytest.mark.parametrize(
    "settings",
    [GenerationSettings(seed=1), GenerationSettings(system_prompt="Sois bref."), GenerationSettings(template="raw")],
)
def test_other_settings_draw_everything(path: Path, settings: GenerationSettings) -> None:
    Drawn(path)
    assert len(Drawn(path, settings=settings).engine.asked) == 12


def test_an_adapter_of_the_same_name_takes_nothing_of_another(path: Path) -> None:
    Drawn(path, LORA)
    assert Drawn(path, AdapterSpec(name="lora", source="retrained")).arms_asked() == {"lora": 6}


def test_a_prompt_of_the_same_id_with_another_text_is_drawn(path: Path) -> None:
    Drawn(path)
    cases = (PromptCase(prompt_id="p0", category="c", text="ferme tout", keywords=("ferme",)), *CASES[1:])
    assert {request.prompt_id for request in Drawn(path, cases=cases).engine.asked} == {"p0"}


def test_the_twin_is_kept_and_taken_under_its_own_name(path: Path) -> None:
    first, second = Drawn(path, TWIN), Drawn(path, TWIN)
    assert len(first.engine.asked) == 12
    assert second.engine.asked == []
    assert second.facts.reused == {"base": 6, TWIN_ARM: 6}
    assert first.scored() == second.scored()


def test_an_a_a_run_takes_the_base_of_another_run_and_draws_the_twin(path: Path) -> None:
    Drawn(path, LORA)
    twin = Drawn(path, TWIN)
    assert twin.facts.reused == {"base": 6, TWIN_ARM: 0}
    assert twin.facts.generated == {"base": 0, TWIN_ARM: 6}


def test_failures_are_asked_for_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(request: Request) -> str | Failure:
        if request.key != ("p1", "lora", 0):
            return answer(request)
        return Failure(prompt_id="p1", arm="lora", replicate=0, stage="timeout", reason=text_note("30 s"))

    def with_script(script: Callable[[Request], str | Failure]) -> Drawn:
        def init(self: CountingEngine, adapters: object, dies_after: object, settings: object) -> None:
            ScriptedEngine.__init__(self, ModelSpec(adapters=(LORA,)), GenerationSettings(), script)
            self._script_digest = "one model, whose luck varies"
            self.asked, self.embedded, self._dies_after = [], [], None

        monkeypatch.setattr(CountingEngine, "__init__", init)
        return Drawn(path)

    assert len(with_script(stuck).run.failures(CASES[1])) == 1
    again = with_script(answer)
    assert [request.key for request in again.engine.asked] == [("p1", "lora", 0)]
    assert again.run.failures(CASES[1]) == []


def test_the_drawing_is_told_of_what_is_missing_alone(path: Path) -> None:
    Drawn(path, dies_after=5)
    assert Drawn(path).log == ["recalled 2: 5/12", "drawn 2: 7"]


def test_a_run_that_finds_nothing_says_nothing_of_a_store(path: Path) -> None:
    assert Drawn(path).log == ["drawn 2: 12"]
