"""Synthetic reports: responses drawn with a seed, judged and put together by the code that a session ends with."""

import argparse
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from samples import WHEN

from pytest_jarvis.inputs.options import declare
from pytest_jarvis.inputs.prompts import PromptSet
from pytest_jarvis.metrics.deeds import Outcome
from pytest_jarvis.report.schema import FailureRow, Figure, Machine, Report, ResultRow, Sample, failure_row
from pytest_jarvis.run.benchmark import Benchmark
from pytest_jarvis.run.build_report import SessionResults, judge_gate, judge_workers
from pytest_jarvis.run.build_report import make_report as build
from pytest_jarvis.run.rows import make_row
from pytest_jarvis.run.runner import RunFacts
from pytest_jarvis.run.settings import resolve
from pytest_jarvis.types import (
    BASE_ARM,
    TWIN_ARM,
    AdapterProof,
    Category,
    DeviceMemory,
    EngineDescription,
    Failure,
    FinishReason,
    PromptCase,
    QuantizationCoverage,
    Response,
    ResponseKey,
    Stage,
    Storage,
    text_note,
)

TERMS = 65
STEP = 1 / (0.3 * TERMS)
LABELS = ("Commandes vocales", "Corrections vocales", "Choix de l'outil", "Domotique de la maison connectée")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a synthetic report holds."""

    gains: Mapping[str, float] = field(default_factory=lambda: {"jarvis": 0.4})
    """Adapter -> true relative gain of its relevance."""
    categories: int = 3
    prompts: int = 10
    """Per category."""
    replicates: int = 4
    seed: int = 1
    base_terms: float = 4.0
    text: str = "D'accord, j'ouvre l'application demandée."
    prompt_text: str = "ouvre la fenêtre"
    label: str | None = None
    failing: Sequence[tuple[int, str]] = ()
    """(prompt's place, arm): all its responses failed."""
    reason: str = "plus de mémoire"
    metrics: bool = True
    measured: bool = True


def options(*arguments: str) -> argparse.Namespace:
    """Return the options of a session."""
    parser = argparse.ArgumentParser()
    declare(parser.add_argument)
    return parser.parse_args(arguments)


def failed(case: PromptCase, arm: str, replicate: int, reason: str, stage: Stage = "generate") -> FailureRow:
    """Return the row of a failed response."""
    failure = Failure(prompt_id=case.prompt_id, arm=arm, replicate=replicate, stage=stage, reason=text_note(reason))
    return failure_row(failure, case.category)


def with_cosine(case: PromptCase, adapter: str, base: Sequence[Sample], tuned: Sequence[Sample]) -> ResultRow:
    """Return a row whose cosine is 0.8 where both arms said something."""
    alike = base and tuned and base[0].text and tuned[0].text and tuned[0].scores
    given = {"cosine_similarity": Figure(finetuned=0.8)} if alike else {}
    return msgspec.structs.replace(make_row(case, adapter, base, tuned, given=given), timestamp=WHEN)


def assemble(
    categories: Iterable[Category],
    rows: Iterable[ResultRow],
    failures: Iterable[FailureRow],
    *,
    adapters: Sequence[str],
    replicates: int,
) -> Report:
    """Return the report that a session on the embedded base makes of these rows; nothing in it is this machine's."""
    of_adapters = (
        ["--jarvis-aa"] if TWIN_ARM in adapters else [f"--jarvis-adapter={one}=demo:{one}" for one in adapters]
    )
    settings = resolve(options(*of_adapters, f"--jarvis-samples={replicates}"), Path("/"))
    benchmark = Benchmark(
        settings=settings, prompts=PromptSet(folder=Path("/"), categories=tuple(categories), tools=())
    )
    rows = tuple(rows)
    facts = RunFacts(
        engine=_describe(adapters),
        samples_per_prompt=replicates,
        decisions={},
        mismatched_cosine=0.6,
        timings_s={"load": 1.2, "generate": 20.0, "embed": 0.5},
    )
    facts = judge_workers(benchmark, rows, facts, ())
    results = SessionResults(rows=rows, failures=tuple(failures), planned=benchmark.cases, facts=facts, finished=True)
    report = build(benchmark, results, judge_gate(benchmark, results), Path("/"))
    provenance = msgspec.structs.replace(
        report.provenance,
        versions={"python": "3.11.7", "torch": "2.9.0"},
        commit=COMMIT,
        dirty=False,
        machine=Machine(system="Linux", processor="x86_64", cores=2, python="3.11.7"),
        prompt_hash="a" * 64,
        dictionary_hash="b" * 64,
    )
    metadata = msgspec.structs.replace(report.metadata, timestamp=WHEN)
    return msgspec.structs.replace(report, metadata=metadata, provenance=provenance)


def _describe(adapters: Iterable[str]) -> EngineDescription:
    return EngineDescription(
        engine="transformers",
        base_model="demo",
        display_name="modèle de démonstration embarqué",
        is_demo=True,
        is_real=True,
        device="CPU",
        compute_dtype="bfloat16",
        coverage=QuantizationCoverage(storage=Storage(format="nf4"), share_4bit=1.0),
        adapters=tuple(
            AdapterProof(
                name=name,
                source=f"demo:{name}",
                sha256="0123456789abcdef" * 4,
                rank=8,
                targets=("q_proj", "v_proj"),
                weights=123_456,
                max_logit_change=1.5,
                base_unchanged=True,
                max_base_drift=0.0,
                live=True,
            )
            for name in adapters
            if name != TWIN_ARM
        ),
        batching="mixed",
        memory=(
            DeviceMemory(
                device="CPU", allocated_bytes=10**9, peak_bytes=2 * 10**9, reserved_bytes=None, total_bytes=10**10
            ),
        ),
    )


def _sample(recipe: Recipe, draw: random.Random, key: ResponseKey, level: float) -> Sample:
    terms = max(0, round(draw.gauss(level, 1.2)))
    found = draw.choice((0, 1, 2))
    finish_reason: FinishReason = "length" if draw.random() < 0.02 else "stop"
    tokens, seconds = draw.randint(8, 40), draw.uniform(0.5, 2)
    done = terms >= 5
    scores = {"deeds": float(done), "keyword_share": found / 2, "jarvis_relevance": min(1.0, terms * STEP)}
    return Sample(
        response=Response(
            prompt_id=key[0],
            arm=key[1],
            replicate=key[2],
            text=recipe.text,
            thinking=None,
            finish_reason=finish_reason,
            prompt_tokens=12,
            new_tokens=tokens,
            duration_s=seconds,
            first_token_s=0.1,
        ),
        scores=scores if recipe.metrics else {},
        keywords_found=("ouvre", "fenêtre")[:found],
        outcome=Outcome(kind="done", reason="announced") if done else Outcome(kind="not_done", reason="explained"),
        terms_found=tuple(f"terme{number}" for number in range(terms)),
        tools_named=("open_app_tool", "mute_tool")[: draw.randint(0, 2)],
    )


def _categories(recipe: Recipe) -> list[Category]:
    found = []
    for number in range(recipe.categories):
        name = f"categorie_{number}"
        cases = tuple(
            PromptCase(
                prompt_id=f"c{number}-{place:04}",
                category=name,
                text=recipe.prompt_text,
                keywords=("ouvre", "fenêtre"),
                expected_tool="open_app_tool" if place % 2 else None,
            )
            for place in range(recipe.prompts)
        )
        label = recipe.label or f"{LABELS[number % 4]}{'' if number < 4 else f' {number}'}"
        found.append(Category(name=name, label=label, description="", cases=cases))
    return found


def draw_report(recipe: Recipe) -> Report:
    """Return a report as a session would have made it of such responses."""
    draw = random.Random(recipe.seed)  # noqa: S311  # no secret
    categories = _categories(recipe)
    cases = [case for category in categories for case in category.cases]
    without = {(cases[place].prompt_id, arm) for place, arm in recipe.failing}
    rows: list[ResultRow] = []
    failures: list[FailureRow] = []
    for case in cases:
        samples: dict[str, list[Sample]] = {}
        for arm in (BASE_ARM, *recipe.gains):
            level = recipe.base_terms * (1 + recipe.gains.get(arm, 0.0)) + draw.uniform(-1, 1)
            keys = [(case.prompt_id, arm, number) for number in range(recipe.replicates)]
            made = [_sample(recipe, draw, key, level) for key in keys]
            samples[arm] = made if (case.prompt_id, arm) not in without and recipe.measured else []
            if not samples[arm]:
                failures += [failed(case, arm, number, recipe.reason) for _, _, number in keys]
        rows += [with_cosine(case, name, samples[BASE_ARM], samples[name]) for name in recipe.gains]
    return assemble(categories, rows, failures, adapters=list(recipe.gains), replicates=recipe.replicates)


class ReportMaker:
    """Makes synthetic reports: `make_report(categories=8)`; the same one for the same changes, for it is frozen."""

    def __init__(self) -> None:
        self._made: dict[str, Report] = {}

    def __call__(self, **changes: object) -> Report:
        """Return the report of a recipe with these changes."""
        key = repr(sorted(changes.items()))
        if key not in self._made:
            self._made[key] = draw_report(Recipe(**changes))  # type: ignore[arg-type]
        return self._made[key]
