"""Two saved runs held against each other: what differs in how they were made, and what changed in what they found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal

from pytest_jarvis.changes import Metric, keywords_of, relevance_of
from pytest_jarvis.comparisons import Difference
from pytest_jarvis.rankings import REGRESSION_ALPHA, compare_with_stored, find_worse_prompts
from pytest_jarvis.records import BASE_ARM, TWIN_ARM
from pytest_jarvis.regressions import (
    OVERALL,
    Obstacle,
    PromptOverlap,
    RegressionOutcome,
    SettingChange,
    StoredRun,
    find_drops,
    settle,
)
from pytest_jarvis.report import Report, ResultRow, Sample

MetricName = Literal["relevance", "keywords", "cosine", "base_relevance", "base_keywords"]

_NOT_JUDGED: Final = frozenset({"nothing_measured", "partial_selection", "failures", "missing_pairs"})
"""Reasons of a gate that speak of the run, not of its scores."""

Table = list[tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDifference:
    """One metric, new - stored, over the prompts that have it in both runs."""

    metric: MetricName
    category: str
    """Empty over all prompts."""
    prompts: int
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptDifference:
    """One prompt in both runs: the adapter's scores (stored, new), and how many of its texts differ."""

    prompt_id: str
    category: str
    prompt: str
    relevance: tuple[float | None, float | None]
    keywords: tuple[float | None, float | None]
    cosine: tuple[float | None, float | None]
    texts: int
    """Replicates that both runs have."""
    texts_changed: int
    p_worse: float | None
    """Set when the relevance dropped by more than noise explains (Holm over the prompts): its one-sided p-value."""
    stored_response: str | None
    new_response: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmComparison:
    """One adapter of the stored run against one of the new run."""

    stored_adapter: str
    new_adapter: str
    metrics: tuple[MetricDifference, ...]
    prompts: tuple[PromptDifference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """A run against a stored one."""

    alpha: float
    overlap: PromptOverlap
    changes: tuple[SettingChange, ...]
    arms: tuple[ArmComparison, ...]


def overlap_of(stored: Report, new: Report) -> PromptOverlap:
    """Return which prompts two runs share: the same id and the same text."""
    before = {row.prompt_id: row.prompt for row in stored.results}
    after = {row.prompt_id: row.prompt for row in new.results}
    return PromptOverlap(
        common=tuple(name for name, text in after.items() if before.get(name) == text),
        only_stored=tuple(name for name in before if name not in after),
        only_new=tuple(name for name in after if name not in before),
        changed=tuple(name for name, text in after.items() if name in before and before[name] != text),
    )


def pair_adapters(stored: Report, new: Report, named: Mapping[str, str] | None = None) -> tuple[tuple[str, str], ...]:
    """Return which adapter of one run is compared with which of the other.

    Those `named` (stored -> new); else those of the same name; else, by their places, what has no namesake. ValueError
    for a name that a run does not hold.
    """
    before, after = list(stored.metadata.adapters), list(new.metadata.adapters)
    if named:
        for names, known in ((named.keys(), before), (named.values(), after)):
            for name in names:
                if name not in known:
                    raise ValueError(f"no adapter '{name}'; there are: {', '.join(known)}")
        return tuple(named.items())
    same = tuple((name, name) for name in before if name in after)
    return same or tuple(zip(before, after, strict=False))


def setting_changes(stored: Report, new: Report, pairs: Iterable[tuple[str, str]]) -> tuple[SettingChange, ...]:
    """Return what two runs do not have in common, of what may change their scores."""
    before, after = dict(_settings(stored)), dict(_settings(new))
    digests = [
        {proof.name: (proof.sha256 or "")[:12] for proof in run.provenance.engine.adapters} for run in (stored, new)
    ]
    for one, other in pairs:
        name = f"adapter.{one}" if one == other else f"adapter.{one}.{other}"
        before[name], after[name] = digests[0].get(one, ""), digests[1].get(other, "")
    if "keyword_mode" not in before or "keyword_mode" not in after:
        # An older report does not say it, which is no difference.
        before.pop("keyword_mode", None)
        after.pop("keyword_mode", None)
    return tuple(
        SettingChange(name=name, stored=before.get(name, ""), new=after.get(name, ""))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    )


def compare_runs(
    stored: Report, new: Report, named: Mapping[str, str] | None = None, *, alpha: float = REGRESSION_ALPHA
) -> RunComparison:
    """Return what changed from a stored run to another, prompt by prompt, over the prompts they share.

    Each interval misses with probability `alpha` on each side; the runs count as independent. ValueError as
    `pair_adapters`.
    """
    overlap = overlap_of(stored, new)
    pairs = pair_adapters(stored, new, named)
    return RunComparison(
        alpha=alpha,
        overlap=overlap,
        changes=setting_changes(stored, new, pairs),
        arms=tuple(_compare_arm(stored, new, pair, overlap.common, alpha) for pair in pairs),
    )


def obstacles_between(stored: Report, new: Report) -> tuple[Obstacle, ...]:
    """Return what keeps a drop from being judged; settings that differ do not, they are named."""
    found: list[Obstacle] = []
    if _is_not_judged(new):
        found.append("run_not_judged")
    if _is_not_judged(stored):
        found.append("stored_not_judged")
    if (
        stored.metadata.is_real != new.metadata.is_real
        or TWIN_ARM in stored.metadata.adapters
        or TWIN_ARM in new.metadata.adapters
    ):
        found.append("other_kind")
    if _scale(stored) != _scale(new):
        found.append("other_dictionary")
    if not overlap_of(stored, new).common:
        found.append("no_common_prompt")
    return tuple(found)


def is_comparable(stored: Report, new: Report) -> bool:
    """Whether a saved run is one of the same thing as another: model, storage, settings but for the seed, adapter."""
    generation = [
        {name: value for name, value in _settings(run) if name.startswith("generation.") and name not in _OWN_NOISE}
        for run in (stored, new)
    ]
    return (
        not obstacles_between(stored, new)
        and stored.provenance.replay is None
        and stored.metadata.base_model == new.metadata.base_model
        and stored.metadata.quantization == new.metadata.quantization
        and generation[0] == generation[1]
        and new.metadata.lora_adapter in stored.metadata.adapters
    )


def series_key(report: Report) -> tuple[tuple[str, str], ...]:
    """Return what two runs must share for their gains to be on one scale, by the names of `SettingChange`."""
    kept = {"base_model", "quantization", "prompts", "dictionary", "relevance_share"}
    return (
        *(
            (name, value)
            for name, value in _settings(report)
            if name in kept or (name.startswith("generation.") and name not in _OWN_NOISE)
        ),
        ("real", str(report.metadata.is_real)),
    )


def judge_regression(
    new: Report, stored: Report | None, run: StoredRun | None, *, asked: str, fail: bool, strict: bool
) -> RegressionOutcome:
    """Return whether the candidate of `new` is proven worse than it was in `stored`, overall or in a category.

    `run` says which run that is; without one nothing is judged.
    """
    candidate = new.metadata.lora_adapter
    outcome = RegressionOutcome(
        verdict="NOT_JUDGED",
        exit_failed=False,
        obstacles=("nothing_stored",),
        asked=asked,
        alpha=REGRESSION_ALPHA,
        stored=run,
        adapter=candidate,
        tests=(),
        overlap=None,
        changes=(),
    )
    if stored is None or run is None:
        return settle(outcome, fail=fail, strict=strict)
    overlap, obstacles = overlap_of(stored, new), list(obstacles_between(stored, new))
    scopes = _scopes(_rows(stored, run.adapter, overlap.common), _rows(new, candidate, overlap.common))
    if not scopes and "no_common_prompt" not in obstacles:
        obstacles.append("not_measured")
    changed = RegressionOutcome(
        verdict="NOT_JUDGED",
        exit_failed=False,
        obstacles=tuple(obstacles),
        asked=asked,
        alpha=outcome.alpha,
        stored=run,
        adapter=candidate,
        # Scores that count other terms have no difference.
        tests=() if "other_dictionary" in obstacles else find_drops(scopes, alpha=outcome.alpha),
        overlap=overlap,
        changes=setting_changes(stored, new, [(run.adapter, candidate)]),
    )
    return settle(changed, fail=fail, strict=strict)


_OWN_NOISE: Final = frozenset({"generation.seed", "generation.timeout_s"})
"""Settings under which the same model draws other texts, or none, of the same distribution."""


def _settings(report: Report) -> Iterator[tuple[str, str]]:
    metadata, origin = report.metadata, report.provenance
    yield "base_model", metadata.base_model
    yield "quantization", metadata.quantization
    yield "engine", metadata.engine
    yield "device", metadata.device
    yield "dtype", origin.engine.compute_dtype
    for field in fields(origin.generation):
        yield f"generation.{field.name}", str(getattr(origin.generation, field.name))
    yield "responses", str(metadata.samples_per_prompt)
    yield "prompts", origin.prompt_hash[:12]
    yield "dictionary", origin.dictionary_hash[:12]
    yield "relevance_share", str(origin.relevance_share)
    if origin.keyword_mode is not None:
        yield "keyword_mode", origin.keyword_mode
    yield "machine", f"{origin.machine.system} {origin.machine.processor} x {origin.machine.cores}"
    for name, version in origin.versions.items():
        yield f"versions.{name}", version


def _scale(report: Report) -> tuple[str, float]:
    """Return what the relevance counts, and what it counts as 1."""
    return report.provenance.dictionary_hash, report.provenance.relevance_share


def _is_not_judged(report: Report) -> bool:
    return any(reason.code in _NOT_JUDGED for reason in report.gate.reasons)


def _rows(report: Report, adapter: str, prompts: Iterable[str]) -> dict[str, ResultRow]:
    wanted = set(prompts)
    return {row.prompt_id: row for row in report.of_adapter(adapter) if row.prompt_id in wanted}


def _values(row: ResultRow, arm: str, metric: Metric) -> tuple[float, ...]:
    return tuple(value for sample in row.of_arm(arm) if (value := metric(sample)) is not None)


def _tables(
    before: Mapping[str, ResultRow], after: Mapping[str, ResultRow], metric: Metric, *, of_base: bool = False
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return the scores of one arm in both runs, by prompt, of the prompts that have them in both."""
    found = {}
    for name, row in after.items():
        if (stored := before.get(name)) is None:
            continue
        pair = tuple(_values(one, BASE_ARM if of_base else one.adapter, metric) for one in (stored, row))
        if all(pair):
            found[name] = (pair[0], pair[1])
    return found


def _scopes(before: Mapping[str, ResultRow], after: Mapping[str, ResultRow]) -> dict[str, tuple[Table, Table]]:
    """Return the relevance stored and new, over all prompts and by category; categories only where there are two."""
    scopes: dict[str, tuple[Table, Table]] = {}
    for name, (stored, new) in _tables(before, after, relevance_of).items():
        for scope in (OVERALL, after[name].category):
            both = scopes.setdefault(scope, ([], []))
            both[0].append(stored)
            both[1].append(new)
    return {OVERALL: scopes[OVERALL]} if len(scopes) == 2 else scopes


def _compare_arm(
    stored: Report, new: Report, pair: tuple[str, str], common: Sequence[str], alpha: float
) -> ArmComparison:
    before, after = _rows(stored, pair[0], common), _rows(new, pair[1], common)
    return ArmComparison(
        stored_adapter=pair[0],
        new_adapter=pair[1],
        metrics=tuple(_metrics(before, after, alpha)),
        prompts=tuple(_prompts(before, after, alpha, deterministic=_is_greedy(stored) and _is_greedy(new))),
    )


def _is_greedy(report: Report) -> bool:
    generation = report.provenance.generation
    return not generation.do_sample or generation.temperature == 0


def _metrics(
    before: Mapping[str, ResultRow], after: Mapping[str, ResultRow], alpha: float
) -> Iterator[MetricDifference]:
    tables: dict[MetricName, dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
        "relevance": _tables(before, after, relevance_of),
        "keywords": _tables(before, after, keywords_of),
        "cosine": _cosines(before, after),
        "base_relevance": _tables(before, after, relevance_of, of_base=True),
        "base_keywords": _tables(before, after, keywords_of, of_base=True),
    }
    categories = dict.fromkeys(row.category for row in after.values())
    for metric, table in tables.items():
        for scope in (OVERALL, *categories) if len(categories) > 1 else (OVERALL,):
            both = [pair for name, pair in table.items() if scope in {OVERALL, after[name].category}]
            if not both:
                continue
            difference = compare_with_stored(
                [stored for stored, _ in both], [new for _, new in both], alpha=alpha
            ).difference
            yield MetricDifference(metric=metric, category=scope, prompts=len(both), difference=difference)


def _cosines(
    before: Mapping[str, ResultRow], after: Mapping[str, ResultRow]
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return the cosines of each prompt; where one of the runs has only the prompt's mean, the means."""
    tables = _tables(before, after, lambda sample: sample.cosine)
    for name, row in after.items():
        stored = before.get(name)
        if name in tables or stored is None:
            continue
        if stored.cosine_similarity_score is not None and row.cosine_similarity_score is not None:
            tables[name] = ((stored.cosine_similarity_score,), (row.cosine_similarity_score,))
    return tables


def _prompts(
    before: Mapping[str, ResultRow], after: Mapping[str, ResultRow], alpha: float, *, deterministic: bool
) -> Iterator[PromptDifference]:
    scored = _tables(before, after, relevance_of)
    worse = (
        find_worse_prompts(
            [stored for stored, _ in scored.values()],
            [new for _, new in scored.values()],
            list(scored),
            alpha=alpha,
            shared_noise=False,
            deterministic=deterministic,
        )
        if scored
        else ()
    )
    p_values = {prompt.prompt_id: prompt.p_value for prompt in worse}
    for name, row in after.items():
        stored = before[name]
        texts = [(one.text, other.text) for one, other in _same_replicates(stored, row)]
        yield PromptDifference(
            prompt_id=name,
            category=row.category,
            prompt=row.prompt,
            relevance=(stored.jarvis_relevance_finetuned, row.jarvis_relevance_finetuned),
            keywords=(stored.keyword_match_finetuned, row.keyword_match_finetuned),
            cosine=(stored.cosine_similarity_score, row.cosine_similarity_score),
            texts=len(texts),
            texts_changed=sum(one != other for one, other in texts),
            p_worse=p_values.get(name),
            stored_response=stored.finetuned_response,
            new_response=row.finetuned_response,
        )


def _same_replicates(stored: ResultRow, new: ResultRow) -> Iterator[tuple[Sample, Sample]]:
    before = {sample.replicate: sample for sample in stored.of_arm(stored.adapter)}
    for sample in new.of_arm(new.adapter):
        if sample.replicate in before:
            yield before[sample.replicate], sample
