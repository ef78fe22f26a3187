"""The report, the verdict and the exit status of a session, from its rows; the provenance of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pytest_jarvis.files import InputError, make_run_folder
from pytest_jarvis.inputs.prompts import dictionary_hash, prompt_hash
from pytest_jarvis.metrics.custom import built_in_metrics
from pytest_jarvis.metrics.registry import BUILT_IN, DEEDS, RELEVANCE, MetricSpec
from pytest_jarvis.metrics.relevance import RELEVANCE_SHARE
from pytest_jarvis.report.analysis.metrics import line_metrics, line_specs
from pytest_jarvis.report.analysis.thresholds import decide_without, judge_rows, measure_controls
from pytest_jarvis.report.comparison import judge_regression
from pytest_jarvis.report.io import write_report
from pytest_jarvis.report.schema import (
    SCHEMA_VERSION,
    AdapterStatistics,
    Controls,
    FailureRow,
    JudgedContamination,
    Machine,
    Metadata,
    MetricResult,
    Provenance,
    ReplayOf,
    Report,
    ResultRow,
    category_averages,
    make_averages,
    timestamp,
)
from pytest_jarvis.run.rows import Reader, make_scorer
from pytest_jarvis.stats.decision import Decision
from pytest_jarvis.stats.gate import Counts, GateOutcome, judge_run
from pytest_jarvis.stats.ranking import NoiseFloor, noise_floor
from pytest_jarvis.types import BASE_ARM, TWIN_ARM, Note, PromptCase

if TYPE_CHECKING:
    from pytest_jarvis.inputs.contamination import Contamination
    from pytest_jarvis.run.benchmark import Benchmark
    from pytest_jarvis.run.runner import RunFacts
    from pytest_jarvis.run.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResults:
    """Results of the tests of a session."""

    rows: tuple[ResultRow, ...]
    failures: tuple[FailureRow, ...]
    planned: tuple[PromptCase, ...]
    facts: RunFacts
    finished: bool
    """Whether every planned test ran."""
    interrupted: bool = False
    """Whether the user interrupted the session."""
    metrics: tuple[MetricSpec, ...] = ()
    """The custom metrics."""
    workers: int = 1
    """Processes that generated responses."""
    contamination: Contamination | None = None
    """None without training data."""
    controls: Mapping[str, Controls] = field(default_factory=dict)
    """By adapter."""


def measure_all_controls(
    benchmark: Benchmark, rows: Sequence[ResultRow], decisions: Mapping[str, Decision]
) -> dict[str, Controls]:
    """Return the controls of each adapter with a decision, by the headline's metric; none for calls of tools."""
    settings = benchmark.settings
    asked, metrics = settings.config.benchmark, settings.config.metrics
    if not asked.controls or settings.gate.policy == "off" or settings.generation.tools:
        return {}
    score = make_scorer(Reader(benchmark.prompts.tools, metrics), built_in_metrics(metrics))
    metric = DEEDS if asked.primary == "deeds" else RELEVANCE
    found = {}
    for name, decision in decisions.items():
        own = [row for row in rows if row.adapter == name and row.measured]
        if controls := measure_controls(own, benchmark.cases, score, metric, alpha=decision.alpha):
            found[name] = controls
    return found


def judge_gate(benchmark: Benchmark, results: SessionResults | None) -> GateOutcome:
    """Return the verdict of a run; without results, that of a run that measured nothing."""
    settings = benchmark.settings
    names = [adapter.name for adapter in settings.adapters]
    if results is None:
        facts = Counts(
            prompts_planned=len(benchmark.cases),
            # Do not blame the selection too: nothing was measured.
            prompts_selected=len(benchmark.cases),
            prompts_measured=0,
            responses_planned=0,
            responses_failed=0,
        )
        return judge_run(dict.fromkeys(names), facts, settings.gate)
    per_arm = _planned_by_arm(benchmark, results)
    planned = sum(per_arm.values())
    failed = [failure for failure in results.failures if failure.stage != "score"]
    drawn = {(row.prompt_id, item.arm, item.replicate) for row in results.rows for item in row.samples}
    measured = {name: sum(row.measured for row in results.rows if row.adapter == name) for name in names}
    facts = Counts(
        prompts_planned=len(benchmark.cases),
        prompts_selected=len(results.planned),
        prompts_measured=min(measured.values(), default=0),
        measured_by_adapter=measured,
        responses_planned=planned,
        responses_failed=len(failed),
        responses_missing=max(0, planned - len(drawn) - len(failed)),
        interrupted=results.interrupted,
        prompts_changed=settings.config.benchmark.prompts_sha256 not in {None, prompt_hash(benchmark.cases)},
        failures_by_arm={arm: (sum(failure.arm == arm for failure in failed), count) for arm, count in per_arm.items()},
    )
    decisions = {name: results.facts.decisions.get(name) for name in names}
    blind = [name for name, one in results.controls.items() if one.is_blind]
    return judge_run(decisions, facts, settings.gate, results.facts.thresholds, blind)


def _planned_by_arm(benchmark: Benchmark, results: SessionResults) -> dict[str, int]:
    """Return arm -> responses planned; of answers made elsewhere, those that there are and those that lack."""
    settings, samples = benchmark.settings, results.facts.samples_per_prompt
    arms = (BASE_ARM, *(adapter.name for adapter in settings.adapters))
    prompts = [case.prompt_id for case in results.planned]
    if settings.replay is None or settings.replay.answers is None:
        # A run that was interrupted in its first look had planned that look.
        return dict.fromkeys(arms, len(prompts) * max(samples, settings.gate.looks[0]))
    keys = [key for key in settings.replay.recording.outcomes if key[0] in prompts and key[2] < samples]
    return {arm: sum(key[1] == arm for key in keys) for arm in arms}


def judge_workers(
    benchmark: Benchmark, rows: Sequence[ResultRow], facts: RunFacts, metrics: Sequence[MetricSpec]
) -> RunFacts:
    """Return the facts with the look on the rows of several processes, at the level of the last look."""
    settings, looks = benchmark.settings, benchmark.settings.gate.looks
    samples = facts.samples_per_prompt
    look = judge_rows(
        {one.name: [row for row in rows if row.adapter == one.name] for one in settings.adapters},
        settings.config.benchmark,
        settings.gate,
        metrics,
        index=looks.index(samples) if samples in looks else len(looks) - 1,
    )
    return replace(facts, decisions=look.decisions, thresholds=look.thresholds)


def make_report(benchmark: Benchmark, results: SessionResults, gate: GateOutcome, root: Path) -> Report:
    """Return the report of a session in the checkout `root`."""
    settings, facts = benchmark.settings, results.facts
    planned = {
        category.name: sum(case.category == category.name for case in results.planned)
        for category in benchmark.prompts.categories
    }
    by_adapter: dict[str, AdapterStatistics] = {}
    for adapter in settings.adapters:
        rows = [row for row in results.rows if row.adapter == adapter.name]
        failures = [failure for failure in results.failures if failure.arm in {BASE_ARM, adapter.name}]
        by_adapter[adapter.name] = AdapterStatistics(
            statistics=make_averages(rows, len(results.planned), len(failures)),
            by_category=category_averages(benchmark.prompts.categories, planned, rows, failures),
        )
    candidate = by_adapter[settings.adapters[0].name]
    complete = (
        results.finished
        and not results.interrupted
        and not results.failures
        and candidate.statistics.total_tests == len(results.planned)
        and not any(reason.code == "missing_pairs" for reason in gate.reasons)
    )
    specs = line_specs(results.rows, results.metrics)
    report = Report(
        schema_version=SCHEMA_VERSION,
        complete=complete,
        metadata=_metadata(benchmark, results),
        gate=gate,
        decisions=dict(facts.decisions),
        statistics=candidate.statistics,
        by_category=candidate.by_category,
        by_adapter=by_adapter,
        results=results.rows,
        failures=results.failures,
        provenance=_provenance(benchmark, results, root),
        noise_floor=measure_noise_floors(results.rows, specs) if settings.twin else {},
        metrics=_measure_lines(benchmark, results),
        contamination=_judge_contamination(benchmark, results),
        controls=dict(results.controls),
    )
    if (baseline := settings.baseline) is None:
        return report
    saved = baseline.find(report, settings.reports_root)
    regression = judge_regression(
        report,
        saved.report if saved else None,
        saved.describe(report.metadata.lora_adapter) if saved else None,
        asked=baseline.asked,
        fail=baseline.fail,
        strict=settings.gate.strict,
    )
    return msgspec.structs.replace(report, regression=regression)


def save_report(report: Report, settings: Settings) -> Path:
    """Write `report.json` and return its folder; raise InputError where it cannot be written."""
    folder = settings.report_folder
    try:
        folder = folder or make_run_folder(settings.reports_root, settings.run_name)
        write_report(report, folder)
    except (InputError, OSError) as error:
        why = str(error) if isinstance(error, InputError) else f"{folder}: {error.strerror or error}"
        kept = "; --jarvis-reuse takes the responses from the store" if settings.writes_store else ""
        raise InputError(f"no report is written: {why}; name another folder with --jarvis-report-dir{kept}") from error
    return folder


def has_failed(gate: GateOutcome, report: Report | None) -> bool:
    """Return whether the exit status is 1, for the gate or for a regression."""
    return gate.exit_failed or (report is not None and report.regression is not None and report.regression.exit_failed)


def _judge_contamination(benchmark: Benchmark, results: SessionResults) -> JudgedContamination | None:
    """Return the contamination with the decisions on the other prompts, of which an A/A run has none."""
    found = results.contamination
    if found is None:
        return None
    judged = JudgedContamination(**msgspec.structs.asdict(found))
    if not found.leaks or benchmark.settings.twin:
        return judged
    decisions = decide_without(found.leaks, results.rows, results.facts.decisions, benchmark.settings.gate)
    return msgspec.structs.replace(judged, decisions=decisions)


def _measure_lines(benchmark: Benchmark, results: SessionResults) -> dict[str, MetricResult]:
    """Return the results of the metrics shown as lines, at the error rate of the decision, else of the plan."""
    plan, decisions = benchmark.settings.gate, results.facts.decisions
    names = [adapter.name for adapter in benchmark.settings.adapters]
    planned = {case.category for case in results.planned}
    return line_metrics(
        line_specs(results.rows, results.metrics),
        {name: [row for row in results.rows if row.adapter == name] for name in names},
        [category.name for category in benchmark.prompts.categories if category.name in planned],
        {name: decisions[name].alpha if name in decisions else plan.alpha for name in names},
        shared_noise=plan.shared_noise,
    )


def measure_noise_floors(rows: Iterable[ResultRow], added: Iterable[MetricSpec]) -> dict[str, NoiseFloor]:
    """Return metric -> noise floor, between base and twin, for every metric of single responses."""
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


def _metadata(benchmark: Benchmark, results: SessionResults) -> Metadata:
    engine = results.facts.engine
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
        samples_per_prompt=results.facts.samples_per_prompt,
        plan=benchmark.settings.gate,
        full_selection={case.prompt_id for case in results.planned} == {case.prompt_id for case in benchmark.cases},
    )


def _provenance(benchmark: Benchmark, results: SessionResults, root: Path) -> Provenance:
    facts = results.facts
    commit, dirty = find_commit(root, benchmark.settings.reports_root)
    return Provenance(
        versions=library_versions(facts.engine.versions),
        commit=commit,
        dirty=dirty,
        machine=this_machine(),
        prompt_hash=prompt_hash(benchmark.cases),
        dictionary_hash=dictionary_hash(benchmark.prompts.tools),
        seed=benchmark.settings.generation.seed,
        generation=benchmark.settings.generation,
        model=benchmark.settings.model,
        engine=facts.engine,
        timings_s=facts.timings_s,
        mismatched_cosine=facts.mismatched_cosine,
        relevance_share=benchmark.settings.config.metrics.relevance_share,
        relevance_scope=benchmark.settings.config.metrics.relevance_scope,
        notes=tuple(_notes(benchmark, results)),
        keyword_mode=benchmark.settings.config.metrics.keyword_mode,
        replay=_replay_of(benchmark, facts),
        answers=benchmark.settings.replay.answers if benchmark.settings.replay else None,
        responses_reused=dict(facts.reused),
        responses_generated=dict(facts.generated),
    )


def _notes(benchmark: Benchmark, results: SessionResults) -> Iterator[Note]:
    for detection in benchmark.settings.detections:
        yield from detection.notes()
    share = benchmark.settings.config.metrics.relevance_share
    if share != RELEVANCE_SHARE:
        yield Note("relevance_share", {"percent": round(100 * share, 1)})
    yield from results.facts.engine.notes
    if results.workers > 1:
        yield several_processes(results.workers, results.facts.samples_per_prompt)


def several_processes(workers: int, samples: int) -> Note:
    """Return the note of a run in several processes, with `samples` responses per prompt and arm."""
    return Note("several_processes", {"workers": workers, "samples": samples})


def _replay_of(benchmark: Benchmark, facts: RunFacts) -> ReplayOf | None:
    replay, match = benchmark.settings.replay, benchmark.match
    if replay is None or replay.report is None or match is None:
        return None
    metadata, origin = replay.report.metadata, replay.report.provenance
    return ReplayOf(
        report=replay.source,
        altered=replay.report.is_altered,
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


_LIBRARIES: Final = ("pytest-jarvis", "pytest", "numpy", "scipy", "scikit-learn")
_GIT_TIMEOUT_S: Final = 10


def library_versions(engine: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of Python, of the libraries that score, and of the engine's libraries."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, **engine}


def this_machine() -> Machine:
    """Return the type of this machine; nothing that identifies it or its user, so no kernel release either."""
    return Machine(
        system=platform.system(),
        processor=platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
    )


def find_commit(folder: Path, reports: Path | None = None) -> tuple[str | None, bool | None]:
    """Return the commit at `folder` and whether files, but for those in `reports`, differ from it; None without git."""
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return None, None
    but: tuple[str, ...] = ()
    if reports is not None and reports != folder and reports.is_relative_to(folder):
        but = (f":(exclude,literal){reports.relative_to(folder).as_posix()}",)
    changes = _git(folder, "status", "--porcelain", "--", ":/", *but)
    return head, None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments
            ["git", *arguments],  # noqa: S607  # git is looked up as a user's shell does
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
