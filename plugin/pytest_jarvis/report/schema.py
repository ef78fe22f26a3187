"""The schema of `report.json`, and the averages made from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import Final, Literal

import msgspec

from pytest_jarvis.inputs.config import RelevanceScope
from pytest_jarvis.inputs.contamination import Contamination
from pytest_jarvis.metrics.deeds.outcome import Outcome
from pytest_jarvis.metrics.registry import BUILT_IN, RELEVANCE, MetricSpec
from pytest_jarvis.metrics.tool_choice import Routing
from pytest_jarvis.stats.contrasts import Interval
from pytest_jarvis.stats.decision import Decision
from pytest_jarvis.stats.gate import GateOutcome
from pytest_jarvis.stats.ranking import NoiseFloor
from pytest_jarvis.stats.regression import RegressionOutcome
from pytest_jarvis.types import (
    Category,
    EngineDescription,
    Failure,
    GatePlan,
    GenerationSettings,
    ModelSpec,
    Note,
    Response,
    Storage,
)

SCHEMA_VERSION: Final = 3
REPORT_FILE: Final = "report.json"


class Figure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric's mean in each arm; of a metric of pairs, `finetuned` is their mean. None where not measured."""

    base: float | None = None
    finetuned: float | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One response and its scores."""

    response: Response
    scores: dict[str, float] = {}
    """By metric, built-in or custom; absent if not measured. Metrics of pairs: of this response and the base's."""
    keywords_found: tuple[str, ...] = ()
    terms_found: tuple[str, ...] = ()
    tools_named: tuple[str, ...] = ()
    terms_announced: tuple[str, ...] = ()
    """Terms of the expected tool where the response announces an action."""
    outcome: Outcome | None = None
    """What it did; None when the metric is off, or the prompt does not say what is wanted."""
    routing: Routing | None = None
    """Its tool choice; None when the metric is off, or the prompt states no tool."""
    reused: bool = False
    """Taken from the store: its seconds are those of the run that generated it."""

    @property
    def arm(self) -> str:
        """The arm that answered."""
        return self.response.arm

    @property
    def replicate(self) -> int:
        """The replicate's number, from 0."""
        return self.response.replicate

    @property
    def text(self) -> str:
        """The text of the response."""
        return self.response.text

    def score(self, metric: str) -> float | None:
        """Return the value of a metric; None where not measured."""
        if (score := self.scores.get(metric)) is not None or metric not in BUILT_IN:
            return score
        fact = BUILT_IN[metric].fact
        return None if fact is None else fact(self.response)


class ResultRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One prompt, answered by the base and one adapter."""

    prompt_id: str
    category: str
    prompt: str
    adapter: str
    keywords_expected: tuple[str, ...]
    expected_tool: str | None
    intended: str | None
    base_model_response: str | None
    """The first replicate's."""
    finetuned_response: str | None
    figures: dict[str, Figure]
    """By built-in metric: its means over the replicates; absent if measured in no arm."""
    timestamp: str
    samples: tuple[Sample, ...]
    """Every replicate of both arms, the base's first."""
    no_tool: bool = False
    """Whether the prompt wants no tool."""

    @property
    def measured(self) -> bool:
        """Whether both arms have a replicate in common."""
        tuned = {sample.replicate for sample in self.samples if sample.arm == self.adapter}
        return any(sample.replicate in tuned for sample in self.samples if sample.arm != self.adapter)

    def of_arm(self, arm: str) -> tuple[Sample, ...]:
        """Return the samples of one arm, by replicate."""
        return tuple(sample for sample in self.samples if sample.arm == arm)

    def figure(self, metric: str) -> Figure:
        """Return the means of a metric over the replicates of each arm."""
        if (known := self.figures.get(metric)) is not None:
            return known
        base = [sample for sample in self.samples if sample.arm != self.adapter]
        return _figure(metric, base, self.of_arm(self.adapter))


def _figure(metric: str, base: Sequence[Sample], tuned: Sequence[Sample]) -> Figure:
    base_mean, tuned_mean = (_mean(sample.score(metric) for sample in samples) for samples in (base, tuned))
    return Figure(base=base_mean, finetuned=tuned_mean)


def figures_of(base: Sequence[Sample], tuned: Sequence[Sample]) -> dict[str, Figure]:
    """Return the figures of one prompt for the built-in metrics that were measured."""
    found = {name: _figure(name, base, tuned) for name, metric in BUILT_IN.items() if metric.fact is None}
    return {name: figure for name, figure in found.items() if figure != Figure()}


class FailureRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A failed response."""

    prompt_id: str
    category: str
    arm: str
    replicate: int
    stage: str
    reason: Note


class Averages(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Means over prompts of one adapter's rows; None where nothing was measured."""

    total_tests: int
    """Prompts with at least one response of each arm."""
    planned_tests: int
    failed_responses: int
    figures: dict[str, Figure]
    """By built-in metric; absent if not measured."""

    def figure(self, metric: str) -> Figure:
        """Return the means of a built-in metric."""
        return self.figures.get(metric, Figure())

    @property
    def relevance_gain(self) -> float | None:
        """Ratio of the two means of relevance, minus 1; None when the base's is 0."""
        return relative_gain(self.figure(RELEVANCE).base, self.figure(RELEVANCE).finetuned)


def relative_gain(base: float | None, finetuned: float | None) -> float | None:
    """Return the ratio of two means less 1; None without both, or over a base of 0."""
    return finetuned / base - 1 if base and finetuned is not None else None


class CategoryAverages(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A category's label and averages."""

    label: str
    averages: Averages


class Metadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Summary of the run."""

    base_model: str
    lora_adapter: str
    """The candidate: the first adapter named."""
    adapters: dict[str, str]
    """Arm name -> where its files are."""
    device: str
    timestamp: str
    engine: str
    is_demo: bool
    is_real: bool
    quantization: Storage
    samples_per_prompt: int
    plan: GatePlan
    full_selection: bool


class Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The type of machine."""

    system: str
    processor: str
    cores: int
    python: str

    @property
    def label(self) -> str:
        """Label that tells it from other types."""
        return f"{self.system} {self.processor} x {self.cores}"


class ReplayOf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The run that was replayed: responses, models, settings and timings are its own."""

    report: str
    """The file, as given."""
    sha256: str
    altered: bool = False
    """Whether it was changed after the run."""
    timestamp: str
    commit: str | None
    machine: Machine
    replicates: int
    """Recorded responses per prompt and arm."""
    stopped_short: bool
    """Whether another look was needed but not recorded."""
    cosines: Literal["responses", "prompts", "none"]
    """Recorded for each pair of responses, as the mean of each prompt, or not at all."""
    plan: GatePlan
    """Of the recorded run."""
    prompt_hash: str
    dictionary_hash: str
    prompts_gone: tuple[str, ...] = ()
    """Recorded, and no longer in the folder."""
    prompts_changed: tuple[str, ...] = ()
    """Recorded with another text."""
    prompts_new: tuple[str, ...] = ()
    """In the folder, and not recorded."""


class AnswersFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of answers made elsewhere, by a model that is not known."""

    file: str
    """As given."""
    sha256: str


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything needed to trust or repeat the run."""

    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    machine: Machine
    prompt_hash: str
    dictionary_hash: str
    seed: int
    generation: GenerationSettings
    model: ModelSpec
    engine: EngineDescription
    timings_s: dict[str, float]
    mismatched_cosine: float | None
    """Mean cosine over pairs of different prompts: the level of unrelated texts."""
    relevance_share: float = 0.3
    """Share of the terms at which JARVIS relevance reaches 1."""
    relevance_scope: RelevanceScope = "dictionary"
    """The terms that JARVIS relevance counts; reports before schema 3 counted all."""
    notes: tuple[Note, ...] = ()
    """Notes of the run, including those of the engine."""
    keyword_mode: Literal["words", "substring"] | None = None
    """None in older reports."""
    replay: ReplayOf | None = None
    """The replayed run, where nothing was generated."""
    answers: AnswersFile | None = None
    """Where the responses are from that no engine gave; settings of generation then mean nothing."""
    responses_reused: dict[str, int] = {}
    """Responses from the store, by arm."""
    responses_generated: dict[str, int] = {}
    """Responses from the engine, by arm."""


class AdapterStatistics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One adapter's averages, overall and per category."""

    statistics: Averages
    by_category: dict[str, CategoryAverages]


class JudgedContamination(Contamination, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Benchmark prompts found in training data, and the decisions without them."""

    decisions: dict[str, Decision] = msgspec.field(default_factory=dict)
    """By adapter, without the contaminated prompts; the verdict of the run is about all prompts."""


class Controls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What answers that read no prompt score by one metric, as means over prompts, beside an adapter's own."""

    metric: str
    own: float
    shuffled: float
    """Its answers, each given to another prompt."""
    constant: float
    """The best of its answers, given to every prompt."""
    constant_text: str
    constants_tried: int
    constants_drawn: int
    """Its distinct answers."""
    parrot: float
    """The command itself."""
    empty: float
    interval: Interval
    """Of own - shuffled, missing with probability `alpha` on each side."""
    alpha: float
    is_blind: bool
    """Whether its own are not shown to score higher than the shuffled ones."""


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a run found. The averages at the top are the candidate's; `by_adapter` has every adapter's."""

    schema_version: int
    complete: bool
    """Whether every planned pair was measured and the session ran to its end."""
    metadata: Metadata
    gate: GateOutcome
    decisions: dict[str, Decision]
    """Of each adapter with at least one pair."""
    statistics: Averages
    by_category: dict[str, CategoryAverages]
    by_adapter: dict[str, AdapterStatistics]
    results: tuple[ResultRow, ...]
    failures: tuple[FailureRow, ...]
    provenance: Provenance
    noise_floor: dict[str, NoiseFloor] = {}
    """By metric, in an A/A run; else empty."""
    contamination: JudgedContamination | None = None
    """None without training data."""
    controls: dict[str, Controls] = {}
    """By adapter, of the headline's metric; absent where it could not be measured."""
    metrics: dict[str, MetricResult] = {}
    """By name: custom metrics, and built-in ones with neither a column nor a section."""
    regression: RegressionOutcome | None = None
    """None without `--jarvis-compare`."""

    def category_label(self, category: str) -> str:
        """Return the label of a category; its name where the report does not know it."""
        known = self.by_category.get(category)
        return known.label if known else category

    @property
    def is_altered(self) -> bool:
        """Whether the file was changed after the run, as far as its digest or its rows show."""
        return any(reason.code == "altered" for reason in self.gate.reasons)

    def of_adapter(self, adapter: str) -> tuple[ResultRow, ...]:
        """Return the rows of one adapter, in the plan's order."""
        return tuple(row for row in self.results if row.adapter == adapter)


def make_averages(rows: Sequence[ResultRow], planned: int, failed_responses: int) -> Averages:
    """Return the means of one adapter's measured rows."""
    measured = [row for row in rows if row.measured]
    by_row = {name: [row.figure(name) for row in measured] for name in BUILT_IN}
    found = {
        name: Figure(base=_mean(one.base for one in figures), finetuned=_mean(one.finetuned for one in figures))
        for name, figures in by_row.items()
    }
    return Averages(
        total_tests=len(measured),
        planned_tests=planned,
        failed_responses=failed_responses,
        figures={name: figure for name, figure in found.items() if figure != Figure()},
    )


def failure_row(failure: Failure, category: str) -> FailureRow:
    """Return a failure as in the report."""
    return FailureRow(category=category, **msgspec.structs.asdict(failure))


def category_averages(
    categories: Iterable[Category],
    planned: Mapping[str, int],
    rows: Sequence[ResultRow],
    failures: Sequence[FailureRow],
) -> dict[str, CategoryAverages]:
    """Return the averages of each planned category, in the order of the prompt files."""
    return {
        category.name: CategoryAverages(
            label=category.label,
            averages=make_averages(
                [row for row in rows if row.category == category.name],
                planned[category.name],
                sum(failure.category == category.name for failure in failures),
            ),
        )
        for category in categories
        if planned.get(category.name)
    }


def timestamp() -> str:
    """Return the current time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


class MetricAverages(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Means of one metric over the prompts that have it in both arms, in its own unit."""

    prompts: int
    not_measured: int
    """Responses, or pairs, of measured prompts without a value."""
    base: float | None
    """None for a metric of pairs; so for `finetuned`."""
    finetuned: float | None
    value: float | None
    """finetuned - base, or the mean of the pairs; None where nothing was measured."""
    base_interval: Interval | None = None
    """Like the others, at the level of the decision or, without one, of the plan."""
    finetuned_interval: Interval | None = None
    interval: Interval | None = None
    """Of `value`."""


class AdapterMetric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric of one adapter, overall and per category."""

    overall: MetricAverages
    by_category: dict[str, MetricAverages]


class MetricResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric without a column, and its averages for each adapter."""

    spec: MetricSpec
    by_adapter: dict[str, AdapterMetric]
