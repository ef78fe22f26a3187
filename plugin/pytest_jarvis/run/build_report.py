"""The end of a session: the rows become a report, the report a verdict, the verdict an exit status; then files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from pytest_jarvis.files import InputError, make_run_folder
from pytest_jarvis.inputs.prompts import dictionary_hash, prompt_hash
from pytest_jarvis.metrics.registry import BUILT_IN, RELEVANCE
from pytest_jarvis.metrics.relevance import RELEVANCE_SHARE
from pytest_jarvis.report import provenance
from pytest_jarvis.report.analysis.metrics import collect_pairs, line_metrics, line_specs, pair_values
from pytest_jarvis.report.analysis.thresholds import judge_configured_bars, judge_metric_bars
from pytest_jarvis.report.comparison import judge_regression
from pytest_jarvis.report.io import write_report
from pytest_jarvis.report.schema import (
    SCHEMA_VERSION,
    AdapterStatistics,
    FailureRow,
    JudgedContamination,
    Metadata,
    Provenance,
    ReplayOf,
    Report,
    ResultRow,
    category_averages,
    make_averages,
    timestamp,
)
from pytest_jarvis.stats.decision import Decision, decide
from pytest_jarvis.stats.gate import Counts, GateOutcome, judge_run
from pytest_jarvis.stats.ranking import NoiseFloor, noise_floor
from pytest_jarvis.stats.regression import RegressionOutcome
from pytest_jarvis.stats.sequential import judge_look
from pytest_jarvis.types import BASE_ARM, TWIN_ARM, GatePlan, Note

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_jarvis.inputs.contamination import Contamination
    from pytest_jarvis.metrics.registry import MetricSpec
    from pytest_jarvis.report.schema import MetricResult
    from pytest_jarvis.run.benchmark import Benchmark
    from pytest_jarvis.run.runner import RunFacts
    from pytest_jarvis.run.settings import Settings
    from pytest_jarvis.stats.decision import Decision
    from pytest_jarvis.stats.thresholds import Threshold
    from pytest_jarvis.types import PromptCase


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What the tests of a session left."""

    rows: tuple[ResultRow, ...]
    failures: tuple[FailureRow, ...]
    planned: tuple[PromptCase, ...]
    facts: RunFacts
    finished: bool
    """Whether every test of the plan was run."""
    interrupted: bool = False
    """Whether the session was stopped by hand."""
    metrics: tuple[MetricSpec, ...] = ()
    """Those that others declared."""
    workers: int = 1
    """Processes that drew."""
    contamination: Contamination | None = None
    """What training data holds of the prompts; None when no data was named."""


def is_full(benchmark: Benchmark, planned: Iterable[PromptCase]) -> bool:
    """Whether the plan holds every case of the set of prompts."""
    return {case.prompt_id for case in planned} == {case.prompt_id for case in benchmark.cases}


def judge_gate(benchmark: Benchmark, gathered: Gathered | None) -> GateOutcome:
    """Return the verdict of the run; None gathered is nothing measured."""
    settings = benchmark.settings
    names = [adapter.name for adapter in settings.adapters]
    if gathered is None:
        facts = Counts(
            prompts_planned=len(benchmark.cases),
            # What was selected is not to blame: nothing measured says it all.
            prompts_selected=len(benchmark.cases),
            prompts_measured=0,
            responses_planned=0,
            responses_failed=0,
        )
        return judge_run(dict.fromkeys(names), facts, settings.gate)
    # A run that was stopped before its first look was whole planned that look.
    per_arm = len(gathered.planned) * max(gathered.facts.samples_per_prompt, settings.gate.looks[0])
    planned = per_arm * (1 + len(names))
    failed = [failure for failure in gathered.failures if failure.stage != "score"]
    drawn = {(row.prompt_id, item.arm, item.replicate) for row in gathered.rows for item in row.samples}
    measured = {name: sum(row.measured for row in gathered.rows if row.adapter == name) for name in names}
    facts = Counts(
        prompts_planned=len(benchmark.cases),
        prompts_selected=len(gathered.planned),
        prompts_measured=min(measured.values(), default=0),
        measured_by_adapter=measured,
        responses_planned=planned,
        responses_failed=len(failed),
        responses_missing=max(0, planned - len(drawn) - len(failed)),
        interrupted=gathered.interrupted,
        prompts_changed=settings.config.benchmark.prompts_sha256 not in {None, prompt_hash(benchmark.cases)},
        failures_by_arm={arm: (sum(failure.arm == arm for failure in failed), per_arm) for arm in (BASE_ARM, *names)},
    )
    decisions = {name: gathered.facts.decisions.get(name) for name in names}
    asked = settings.config.benchmark
    specs = line_specs(gathered.rows, gathered.metrics)
    bars: list[Threshold] = []
    for name in names:
        own = [row for row in gathered.rows if row.adapter == name]
        bars += judge_configured_bars(asked, name, own, settings.gate)
        bars += judge_metric_bars(asked, specs, name, own, plan=settings.gate)
    return judge_run(decisions, facts, settings.gate, bars)


def decide_rows(benchmark: Benchmark, rows: Iterable[ResultRow], samples: int) -> dict[str, Decision]:
    """Return the decision on each adapter with a pair, from the rows that several processes drew.

    At the level of the look at which the drawing stopped, which is `samples` responses per prompt and arm.
    """
    settings, looks = benchmark.settings, benchmark.settings.gate.looks
    found = list(rows)
    tables = {
        one.name: collect_pairs([row for row in found if row.adapter == one.name], RELEVANCE)
        for one in settings.adapters
    }
    measured = {name: table for name, table in tables.items() if table[0]}
    if not measured:
        return {}
    look = judge_look(
        {name: base for name, (base, _) in measured.items()},
        {name: tuned for name, (_, tuned) in measured.items()},
        plan=settings.gate,
        index=looks.index(samples) if samples in looks else len(looks) - 1,
        unmeasured=len(tables) - len(measured),
    )
    return dict(look.decisions)


def make_report(benchmark: Benchmark, gathered: Gathered, gate: GateOutcome, root: Path) -> Report:
    """Return the report of a session; `root` is the checkout it ran in."""
    settings, facts = benchmark.settings, gathered.facts
    planned = {
        category.name: sum(case.category == category.name for case in gathered.planned)
        for category in benchmark.prompts.categories
    }
    by_adapter: dict[str, AdapterStatistics] = {}
    for adapter in settings.adapters:
        rows = [row for row in gathered.rows if row.adapter == adapter.name]
        failures = [failure for failure in gathered.failures if failure.arm in {BASE_ARM, adapter.name}]
        by_adapter[adapter.name] = AdapterStatistics(
            statistics=make_averages(rows, len(gathered.planned), len(failures)),
            by_category=category_averages(benchmark.prompts.categories, planned, rows, failures),
        )
    candidate = by_adapter[settings.adapters[0].name]
    complete = (
        gathered.finished
        and not gathered.interrupted
        and not gathered.failures
        and candidate.statistics.total_tests == len(gathered.planned)
        and not any(reason.code == "missing_pairs" for reason in gate.reasons)
    )
    report = Report(
        schema_version=SCHEMA_VERSION,
        complete=complete,
        metadata=_metadata(benchmark, gathered),
        gate=gate,
        decisions=dict(facts.decisions),
        statistics=candidate.statistics,
        by_category=candidate.by_category,
        by_adapter=by_adapter,
        results=gathered.rows,
        failures=gathered.failures,
        provenance=_provenance(benchmark, gathered, root),
        noise_floor=noise_floors(gathered.rows, line_specs(gathered.rows, gathered.metrics)) if settings.twin else {},
        metrics=_line_metrics(benchmark, gathered),
        contamination=_judged_without(benchmark, gathered),
    )
    return msgspec.structs.replace(report, regression=_held_against(benchmark, report))


def _held_against(benchmark: Benchmark, report: Report) -> RegressionOutcome | None:
    """Return how the candidate stands against a saved run; None where that was not asked."""
    settings, against = benchmark.settings, benchmark.settings.against
    if against is None:
        return None
    saved = against.find(report, settings.reports_root)
    return judge_regression(
        report,
        saved.report if saved else None,
        saved.describe(report.metadata.lora_adapter) if saved else None,
        asked=against.asked,
        fail=against.fail,
        strict=settings.gate.strict,
    )


def save_report(report: Report, settings: Settings) -> Path:
    """Write the report's numbers, and return their folder; raise InputError with what to do where that fails."""
    folder = settings.report_folder
    try:
        folder = folder or make_run_folder(settings.reports_root, settings.run_name)
        write_report(report, folder)
    except (InputError, OSError) as error:
        why = str(error) if isinstance(error, InputError) else f"{folder}: {error.strerror or error}"
        kept = "; --jarvis-reuse takes what was drawn from the store" if settings.keeps_responses else ""
        raise InputError(f"no report is written: {why}; name another folder with --jarvis-report-dir{kept}") from error
    return folder


def exits_failed(gate: GateOutcome, report: Report | None) -> bool:
    """Whether the exit status is 1: on the gate's account, or for a drop against a saved run."""
    return gate.exit_failed or (report is not None and report.regression is not None and report.regression.exit_failed)


def _judged_without(benchmark: Benchmark, gathered: Gathered) -> JudgedContamination | None:
    """Return what training data holds of the prompts, with the decisions that leave those out; an A/A run has none."""
    found = gathered.contamination
    if found is None:
        return None
    judged = JudgedContamination(**msgspec.structs.asdict(found))
    if not found.leaks or benchmark.settings.twin:
        return judged
    decisions = decisions_without(found.leaks, gathered.rows, gathered.facts.decisions, benchmark.settings.gate)
    return msgspec.structs.replace(judged, decisions=decisions)


def _line_metrics(benchmark: Benchmark, gathered: Gathered) -> dict[str, MetricResult]:
    """Return what the metrics in lines came to, at the error rate of each adapter's decision, else of the plan."""
    plan, decisions = benchmark.settings.gate, gathered.facts.decisions
    names = [adapter.name for adapter in benchmark.settings.adapters]
    planned = {case.category for case in gathered.planned}
    return line_metrics(
        line_specs(gathered.rows, gathered.metrics),
        {name: [row for row in gathered.rows if row.adapter == name] for name in names},
        [category.name for category in benchmark.prompts.categories if category.name in planned],
        {name: decisions[name].alpha if name in decisions else plan.alpha for name in names},
        shared_noise=plan.shared_noise,
    )


def noise_floors(rows: Iterable[ResultRow], added: Iterable[MetricSpec]) -> dict[str, NoiseFloor]:
    """Return how far the base parts from itself, by metric of responses: the built-in ones, then those added."""
    measured = [row for row in rows if row.measured]
    specs = {spec.name: spec for spec in (*(metric.spec for metric in BUILT_IN.values()), *added)}
    floors: dict[str, NoiseFloor] = {}
    for name in (spec.name for spec in specs.values() if spec.per == "response"):
        arms = [
            [[value for item in row.of_arm(arm) if (value := item.score(name)) is not None] for row in measured]
            for arm in (BASE_ARM, TWIN_ARM)
        ]
        if measured and all(values for arm in arms for values in arm):
            floors[name] = noise_floor(*arms)
    return floors


def _metadata(benchmark: Benchmark, gathered: Gathered) -> Metadata:
    engine = gathered.facts.engine
    adapters = {adapter.name: adapter.source for adapter in benchmark.settings.adapters}
    return Metadata(
        base_model=engine.base_model,
        lora_adapter=next(iter(adapters)),
        adapters=adapters,
        device=engine.device,
        timestamp=timestamp(),
        engine=engine.engine,
        is_demo=engine.is_demo,
        is_real=engine.is_real,
        quantization=engine.coverage.storage,
        samples_per_prompt=gathered.facts.samples_per_prompt,
        plan=benchmark.settings.gate,
        full_selection=is_full(benchmark, gathered.planned),
    )


def _provenance(benchmark: Benchmark, gathered: Gathered, root: Path) -> Provenance:
    facts = gathered.facts
    commit, dirty = provenance.commit(root, benchmark.settings.reports_root)
    return Provenance(
        versions=provenance.versions(facts.engine.versions),
        commit=commit,
        dirty=dirty,
        machine=provenance.machine(),
        prompt_hash=prompt_hash(benchmark.cases),
        dictionary_hash=dictionary_hash(benchmark.prompts.tools),
        seed=benchmark.settings.generation.seed,
        generation=benchmark.settings.generation,
        model=benchmark.settings.model,
        engine=facts.engine,
        timings_s=facts.timings_s,
        mismatched_cosine=facts.mismatched_cosine,
        relevance_share=benchmark.settings.config.metrics.relevance_share,
        notes=tuple(_notes(benchmark, gathered)),
        keyword_mode=benchmark.settings.config.metrics.keyword_mode,
        replay=_replay_of(benchmark, facts),
        responses_reused=dict(facts.reused),
        responses_generated=dict(facts.generated),
    )


def _notes(benchmark: Benchmark, gathered: Gathered) -> Iterator[Note]:
    for detection in benchmark.settings.detections:
        yield from detection.notes()
    share = benchmark.settings.config.metrics.relevance_share
    if share != RELEVANCE_SHARE:
        yield Note("relevance_share", {"percent": round(100 * share, 1)})
    yield from gathered.facts.engine.notes
    if gathered.workers > 1:
        yield several_processes(gathered.workers, gathered.facts.samples_per_prompt)


def several_processes(workers: int, samples: int) -> Note:
    """Return how several processes drew: each its own prompts, with one count of responses."""
    return Note("several_processes", {"workers": workers, "samples": samples})


def _replay_of(benchmark: Benchmark, facts: RunFacts) -> ReplayOf | None:
    """Return which run was scored again, and how its prompts differ from today's."""
    replay, match = benchmark.settings.replay, benchmark.match
    if replay is None or match is None:
        return None
    metadata, origin = replay.report.metadata, replay.report.provenance
    return ReplayOf(
        report=replay.source,
        sha256=replay.sha256,
        timestamp=metadata.timestamp,
        commit=origin.commit,
        machine=origin.machine,
        replicates=replay.recording.replicates,
        stopped_short=facts.stopped_short,
        cosines=replay.recording.cosine_detail,
        plan=metadata.plan,
        prompt_hash=origin.prompt_hash,
        dictionary_hash=origin.dictionary_hash,
        prompts_gone=match.gone,
        prompts_changed=match.changed,
        prompts_new=match.new,
    )


def decisions_without(
    left_out: Collection[str], rows: Sequence[ResultRow], decisions: Mapping[str, Decision], plan: GatePlan
) -> dict[str, Decision]:
    """Give back the decisions anew, on the other prompts: same responses, same bar, same error rate.

    An adapter of whose prompts none is left has none. One that was settled before the last response is judged on the
    responses of then.
    """
    found: dict[str, Decision] = {}
    for name, decision in decisions.items():
        most = decision.replicates[1]
        kept = [row for row in rows if row.adapter == name and row.prompt_id not in left_out]
        pairs = [pair for row in kept if all(pair := pair_values(row, RELEVANCE))]
        if pairs:
            found[name] = decide(
                [base[:most] for base, _ in pairs],
                [tuned[:most] for _, tuned in pairs],
                min_gain=decision.min_gain,
                alpha=decision.alpha,
                shared_noise=plan.shared_noise,
                deterministic=plan.deterministic,
            )
    return found
