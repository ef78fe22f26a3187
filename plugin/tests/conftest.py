"""Reports that are made up for tests of what is made of a report: scored, decided and judged by the real code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import pytest

from pytest_jarvis.contrasts import pair_replicates
from pytest_jarvis.gate import Facts, Rules, judge_run
from pytest_jarvis.records import (
    BASE_ARM,
    AdapterProof,
    AdapterSpec,
    Category,
    DeviceMemory,
    EngineDescription,
    GenerationSettings,
    KindCoverage,
    ModelSpec,
    PromptCase,
    QuantizationCoverage,
    Tool,
)
from pytest_jarvis.report import (
    SCHEMA_VERSION,
    AdapterStatistics,
    FailureRow,
    GatePlan,
    Machine,
    Metadata,
    Provenance,
    Report,
    ResultRow,
    Sample,
    category_averages,
    make_averages,
)
from pytest_jarvis.scoring import Dictionary, score_text
from pytest_jarvis.statistics import Decision, decide

NOW = "2026-01-02T03:04:05+00:00"
_TERMS = {
    "volume_up_tool": ("volume", "plus fort", "augmente", "son"),
    "open_app_tool": ("ouvre", "application", "lance", "logiciel"),
    "screenshot_tool": ("capture", "écran", "image", "photo"),
}
_TOOLS = [Tool(name=name, description=name, parameters={}, terms=terms) for name, terms in _TERMS.items()]
_DICTIONARY = Dictionary.of(_TOOLS)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One prompt and what each arm answered, by replicate; None is a failure."""

    prompt_id: str
    base: Sequence[str | None]
    tuned: Sequence[str | None] | Mapping[str, Sequence[str | None]]
    """Of the only adapter, or by adapter."""
    text: str = "monte le son"
    category: str = "tool_routing"
    keywords: tuple[str, ...] = ("son", "volume")
    expected_tool: str | None = None
    intended: str | None = None
    reason: str = "timeout after 30 s"
    sample: Mapping[str, object] = field(default_factory=dict)
    """Fields of every sample that differ from the plain ones."""

    def answers(self, adapter: str) -> Sequence[str | None]:
        """Return what an adapter answered."""
        return self.tuned[adapter] if isinstance(self.tuned, Mapping) else self.tuned


MakeReport = Callable[..., Report]


@pytest.fixture(scope="session")
def asked() -> type[Asked]:
    """Give the class of the prompts that `make_report` takes."""
    return Asked


@pytest.fixture(scope="session")
def make_report() -> MakeReport:
    """Give `make_report(asked, adapters=..., labels=..., is_real=..., is_demo=..., complete=...)`."""
    return _make_report


def _make_report(
    asked: Sequence[Asked],
    *,
    adapters: Sequence[str] = ("jarvis",),
    labels: Mapping[str, str] | None = None,
    is_real: bool = True,
    is_demo: bool = False,
    complete: bool | None = None,
) -> Report:
    rows = tuple(_row(one, adapter) for adapter in adapters for one in asked)
    failures = tuple(
        _failure(one, arm, replicate)
        for one in asked
        for arm, answers in [(BASE_ARM, one.base), *((name, one.answers(name)) for name in adapters)]
        for replicate, answer in enumerate(answers)
        if answer is None
    )
    decisions = {name: decision for name in adapters if (decision := _decide(rows, name)) is not None}
    statistics = {name: _statistics(name, rows, failures, asked, labels or {}) for name in adapters}
    candidate = statistics[adapters[0]]
    responses = sum(len(one.base) + sum(len(one.answers(name)) for name in adapters) for one in asked)
    facts = Facts(
        prompts_planned=len(asked),
        prompts_selected=len(asked),
        prompts_measured=candidate.statistics.total_tests,
        responses_planned=responses,
        responses_failed=len(failures),
    )
    engine = _engine(adapters, is_real=is_real, is_demo=is_demo)
    samples_per_prompt = max((len(one.base) for one in asked), default=4)
    return Report(
        schema_version=SCHEMA_VERSION,
        complete=not failures if complete is None else complete,
        metadata=Metadata(
            base_model=engine.base_model,
            base_model_label=engine.display_name,
            lora_adapter=adapters[0],
            adapters={name: f"adapters/{name}" for name in adapters},
            device=engine.device,
            timestamp=NOW,
            engine=engine.engine,
            is_demo=is_demo,
            is_real=is_real,
            quantization=engine.coverage.label,
            samples_per_prompt=samples_per_prompt,
            plan=GatePlan(policy="proven", min_gain=0.05, alpha=0.05, looks=(samples_per_prompt,)),
            full_selection=True,
        ),
        gate=judge_run({name: decisions.get(name) for name in adapters}, facts, Rules()),
        decisions=decisions,
        statistics=candidate.statistics,
        by_category=candidate.by_category,
        by_adapter=statistics,
        results=rows,
        failures=failures,
        provenance=_provenance(adapters, engine),
    )


def _row(one: Asked, adapter: str) -> ResultRow:
    arms = {BASE_ARM: one.base, adapter: one.answers(adapter)}
    samples = tuple(
        _sample(one, arm, replicate, answer)
        for arm, answers in arms.items()
        for replicate, answer in enumerate(answers)
        if answer is not None
    )
    base, tuned = ([sample for sample in samples if sample.arm == arm] for arm in arms)

    def mean(found: list[Sample], value: str) -> float | None:
        known = [score for sample in found if (score := getattr(sample, value)) is not None]
        return fmean(known) if known else None

    return ResultRow(
        prompt_id=one.prompt_id,
        category=one.category,
        prompt=one.text,
        adapter=adapter,
        keywords_expected=one.keywords,
        expected_tool=one.expected_tool,
        intended=one.intended,
        base_model_response=base[0].text if base else None,
        finetuned_response=tuned[0].text if tuned else None,
        cosine_similarity_score=0.8 if base and tuned and base[0].text and tuned[0].text else None,
        keyword_match_base=mean(base, "keyword_match"),
        keyword_match_finetuned=mean(tuned, "keyword_match"),
        jarvis_relevance_base=mean(base, "relevance"),
        jarvis_relevance_finetuned=mean(tuned, "relevance"),
        timestamp=NOW,
        samples=samples,
    )


def _sample(one: Asked, arm: str, replicate: int, text: str) -> Sample:
    case = PromptCase(prompt_id=one.prompt_id, category=one.category, text=one.text, keywords=one.keywords)
    score = score_text(text, case, _DICTIONARY)
    fields: dict[str, object] = {
        "arm": arm,
        "replicate": replicate,
        "text": text,
        "thinking": None,
        "finish_reason": "stop",
        "prompt_tokens": 5,
        "tokens": len(text.split()),
        "seconds": 0.25 if arm == BASE_ARM else 0.5,
        "first_token_s": 0.1,
        "cut_chars": 0,
        "keywords_found": score.keywords_found,
        "keyword_match": score.keyword_match,
        "terms_found": score.terms_found,
        "tools_named": score.tools_named,
        "relevance": score.relevance,
    }
    return Sample(**{**fields, **one.sample})  # type: ignore[arg-type]


def _failure(one: Asked, arm: str, replicate: int) -> FailureRow:
    return FailureRow(
        prompt_id=one.prompt_id,
        category=one.category,
        arm=arm,
        replicate=replicate,
        stage="timeout",
        reason=one.reason,
    )


def _decide(rows: Sequence[ResultRow], adapter: str) -> Decision | None:
    pairs = [
        pair_replicates(
            *(
                {
                    sample.replicate: sample.relevance
                    for sample in row.samples
                    if sample.arm == arm and sample.relevance is not None
                }
                for arm in (BASE_ARM, adapter)
            )
        )
        for row in rows
        if row.adapter == adapter
    ]
    whole = [pair for pair in pairs if all(pair)]
    return decide([pair[0] for pair in whole], [pair[1] for pair in whole]) if whole else None


def _statistics(
    name: str,
    rows: Sequence[ResultRow],
    failures: Sequence[FailureRow],
    asked: Sequence[Asked],
    labels: Mapping[str, str],
) -> AdapterStatistics:
    own = [row for row in rows if row.adapter == name]
    failed = [failure for failure in failures if failure.arm in {BASE_ARM, name}]
    names = list(dict.fromkeys(one.category for one in asked))
    categories = [Category(name=one, label=labels.get(one, one), description="", cases=()) for one in names]
    planned = {category: sum(one.category == category for one in asked) for category in names}
    return AdapterStatistics(
        statistics=make_averages(own, len(asked), len(failed)),
        by_category=category_averages(categories, planned, own, failed),
    )


def _engine(adapters: Sequence[str], *, is_real: bool, is_demo: bool) -> EngineDescription:
    return EngineDescription(
        engine="transformers" if is_real else "scripted",
        base_model="Qwen/Qwen3-30B-A3B",
        display_name="modèle de démonstration embarqué" if is_demo else "Qwen/Qwen3-30B-A3B",
        is_demo=is_demo,
        is_real=is_real,
        device="GPU 0 (NVIDIA L4)",
        compute_dtype="bfloat16",
        coverage=QuantizationCoverage(
            label="NF4 (double quantisation)",
            share_4bit=1.0,
            kinds=(KindCoverage(kind="experts", weights={"nf4": 28_991_029_248}, bytes={"nf4": 15_000_000_000}),),
        ),
        adapters=tuple(
            AdapterProof(
                name=name,
                source=f"adapters/{name}",
                sha256="ab" * 32,
                rank=16,
                targets=("q_proj",),
                weights=1_234_567,
                max_logit_change=3.21,
                base_unchanged=True,
                max_base_drift=0.0,
                live=True,
            )
            for name in adapters
        ),
        batching="mixed",
        memory=(
            DeviceMemory(
                device="GPU 0",
                allocated_bytes=18_500_000_000,
                peak_bytes=19_000_000_000,
                reserved_bytes=20_100_000_000,
                total_bytes=24_000_000_000,
            ),
        ),
        versions={"torch": "2.13.0"},
        notes=("a note of the engine",),
    )


def _provenance(adapters: Sequence[str], engine: EngineDescription) -> Provenance:
    return Provenance(
        versions={"python": "3.11.7", "pytest-jarvis": "0.1.0"},
        commit="0123456789abcdef0123456789abcdef01234567",
        dirty=False,
        machine=Machine(system="Linux", processor="x86_64", cores=8, python="3.11.7"),
        prompt_hash="cd" * 32,
        dictionary_hash="ef" * 32,
        seed=0,
        generation=GenerationSettings(system_prompt="Vous êtes JARVIS."),
        model=ModelSpec(adapters=tuple(AdapterSpec(name=name, source=f"adapters/{name}") for name in adapters)),
        engine=engine,
        timings_s={"load": 12.3, "generate": 45.6},
        mismatched_cosine=0.7,
        notes=("a note",),
    )
