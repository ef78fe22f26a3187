"""The bars of a configuration, judged on the rows of a run, and what answers that read no prompt would have scored."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import isclose
from statistics import fmean

from pytest_jarvis.inputs.config import BenchmarkSection
from pytest_jarvis.metrics.registry import BUILT_IN, DEEDS, KEYWORDS, RELEVANCE, TOOL_ROUTING, MetricSpec
from pytest_jarvis.report.analysis.metrics import Values, collect_pair_scores, line_specs, pair_values
from pytest_jarvis.report.schema import Controls, Report, ResultRow
from pytest_jarvis.stats.contrasts import contrast_new_prompts, contrast_these_prompts, judge_claim
from pytest_jarvis.stats.decision import Decision, decide
from pytest_jarvis.stats.gate import is_sound
from pytest_jarvis.stats.sequential import Look, judge_look
from pytest_jarvis.stats.thresholds import Bar
from pytest_jarvis.types import BASE_ARM, GatePlan, PromptCase

Scorer = Callable[[PromptCase, str], Mapping[str, float]]
"""Scores a text as a response to a prompt: metric -> value."""


def list_bars(section: BenchmarkSection, plan: GatePlan, specs: Mapping[str, MetricSpec]) -> tuple[Bar, ...]:
    """Return the bars to judge; one on a metric not in `specs` was not measured, and is left out if it is a default."""
    return tuple(_gain_bars(section, plan, specs)) + tuple(_metric_bars(section, specs))


def _gain_bars(section: BenchmarkSection, plan: GatePlan, specs: Mapping[str, MetricSpec]) -> Iterator[Bar]:
    by_deeds = plan.primary == "deeds"
    yield Bar(name="relevance_gain", metric=RELEVANCE, measure="gain", bar=plan.min_gain, is_beside=by_deeds)
    if by_deeds:
        yield Bar(name="done_gain", metric=DEEDS, measure="change", bar=plan.min_done_gain, highest=1.0)
    if (share := section.min_done_share) is not None:
        yield Bar(
            name="done_share", metric=DEEDS, measure="mean", bar=share, highest=1.0, is_optional=plan.primary != "deeds"
        )
    for name in section.no_drop:
        spec = specs.get(name)
        lower = spec is not None and not spec.higher_is_better
        yield Bar(
            name="no_drop",
            metric=name,
            measure="no_drop",
            bar=0.0,
            direction="at_most" if lower else "at_least",
            highest=spec.highest if spec else 1.0,
            is_optional=True,
        )
    if (percent := section.min_keyword_gain_percent) is not None:
        yield Bar(name="keyword_gain", metric=KEYWORDS, measure="gain", bar=percent / 100)
    if (least := section.min_absolute_gain) is not None:
        yield Bar(name="absolute_gain", metric=RELEVANCE, measure="change", bar=least, highest=1.0)
    if (most := section.max_latency_ratio) is not None:
        yield Bar(name="latency_ratio", metric="seconds", measure="ratio", bar=most, direction="at_most")
    if (least := section.min_routing_accuracy) is not None:
        yield Bar(name="routing_accuracy", metric=TOOL_ROUTING, measure="mean", bar=least, highest=1.0)
    if (least := section.min_routing_gain) is not None:
        yield Bar(name="routing_gain", metric=TOOL_ROUTING, measure="change", bar=least, highest=1.0)
    for category, floor in section.category_floors.items():
        yield Bar(name="category_floor", metric=RELEVANCE, measure="mean", bar=floor, category=category, highest=1.0)


def _metric_bars(section: BenchmarkSection, specs: Mapping[str, MetricSpec]) -> Iterator[Bar]:
    for name, asked in section.metric_bars.items():
        spec = specs.get(name, MetricSpec(name=name, label=name))
        if asked.min_gain is not None:
            sign = 1 if spec.higher_is_better else -1
            yield Bar(
                name="metric_gain",
                metric=name,
                measure="change",
                bar=sign * asked.min_gain,
                direction="at_least" if sign == 1 else "at_most",
                highest=spec.highest,
            )
        if asked.min_mean is not None:
            yield Bar(name="metric_mean", metric=name, measure="mean", bar=asked.min_mean, highest=spec.highest)
        if asked.max_mean is not None:
            yield Bar(
                name="metric_mean",
                metric=name,
                measure="mean",
                bar=asked.max_mean,
                direction="at_most",
                highest=spec.highest,
            )


def judge_rows(
    rows: Mapping[str, Sequence[ResultRow]],
    section: BenchmarkSection,
    plan: GatePlan,
    declared: Sequence[MetricSpec] = (),
    *,
    index: int = 0,
    earlier: Look | None = None,
) -> Look:
    """Return the look of each adapter's rows, with the custom metrics `declared`; the rest as in `judge_look`."""
    known = {name: metric.spec for name, metric in BUILT_IN.items()}
    known |= {spec.name: spec for own in rows.values() for spec in line_specs(own, declared)}
    bars = list_bars(section, plan, known)
    arms = {name: {bar: _read(own, bar, known.get(bar.metric), plan) for bar in bars} for name, own in rows.items()}
    return judge_look(arms, plan=plan, index=index, earlier=earlier)


def _read(
    rows: Sequence[ResultRow], bar: Bar, spec: MetricSpec | None, plan: GatePlan
) -> tuple[list[Values], list[Values]]:
    """Return the values of base and adapter, of shared noise on the replicates that both have; of pairs, the second."""
    own = [row for row in rows if bar.category in {None, row.category}]
    if spec is not None and spec.per == "pair":
        return ([], collect_pair_scores(own, spec)) if bar.measure == "mean" else ([], [])
    if bar.metric == "seconds" and len({one.reused for row in own for one in row.samples}) > 1:
        return [], []  # durations of two sessions do not compare
    pairs = []
    for row in own:
        arms = (row.of_arm(BASE_ARM), row.of_arm(row.adapter))
        scored = ({one.replicate for one in samples if one.score(bar.metric) is not None} for samples in arms)
        if shared := len(set.intersection(*scored)):
            base, tuned = pair_values(row, bar.metric)
            pairs.append((base[:shared], tuned[:shared]) if plan.shared_noise else (base, tuned))
    return [base for base, _ in pairs], [tuned for _, tuned in pairs]


def measure_controls(
    rows: Sequence[ResultRow], cases: Sequence[PromptCase], score: Scorer, metric: str, *, alpha: float, most: int = 200
) -> Controls | None:
    """Return what answers that read no prompt score, beside an adapter's own; None without two prompts of the metric.

    The adapter's answers are given to other prompts, of other tools where there are enough: each replicate is shifted
    along the prompts in the order of their tools, so that a constant answer scores exactly the same. Whether its own
    mean is higher is tested pair by pair at `alpha`. Of its distinct answers, those that score best on their own prompt
    are tried as constants, in at most `most` scorings.
    """
    row_of = {row.prompt_id: row for row in rows}
    known = sorted((case for case in cases if case.prompt_id in row_of), key=lambda case: case.expected_tool or "")
    drawn = [
        {one.replicate: one for one in row_of[case.prompt_id].of_arm(row_of[case.prompt_id].adapter)} for case in known
    ]
    scored = [place for place, case in enumerate(known) if metric in score(case, case.text)]
    if len(scored) < 2:
        return None
    known, drawn = [known[place] for place in scored], [drawn[place] for place in scored]
    shifts = _shifts(known)
    own: list[Values] = []
    shuffled: list[Values] = []
    values: dict[str, float] = {}
    for place, samples in enumerate(drawn):
        pairs = []
        for number, sample in samples.items():
            other = known[(place + shifts[number % len(shifts)]) % len(known)]
            mine, theirs = sample.score(metric), score(other, sample.text).get(metric)
            if mine is not None and theirs is not None:
                pairs.append((mine, theirs))
                values[sample.text] = max(mine, values.get(sample.text, 0.0))
        if pairs:
            own.append(tuple(one for one, _ in pairs))
            shuffled.append(tuple(one for _, one in pairs))
    if not own:
        return None
    first, second = tuple(own), tuple(shuffled)
    # As the decision does: with one answer to a prompt, the claim is about new prompts.
    contrast = contrast_these_prompts(first, second, shared_noise=True) or contrast_new_prompts(first, second)
    if contrast is None:
        return None
    tried = sorted(values, key=lambda text: -values[text])[: max(1, most // len(known))]

    def mean_of(answer: Callable[[PromptCase], str]) -> float:
        return fmean(score(case, answer(case))[metric] for case in known)

    constants = {text: mean_of(lambda _, text=text: text) for text in tried}  # type: ignore[misc]
    best = max(constants, key=lambda text: constants[text])
    test = judge_claim(contrast, 1.0, 0.0, alpha, (0.0, 1.0))
    return Controls(
        metric=metric,
        own=contrast.first,
        shuffled=contrast.second,
        constant=constants[best],
        constant_text=best,
        constants_tried=len(tried),
        constants_drawn=len(values),
        parrot=mean_of(lambda case: case.text),
        empty=mean_of(lambda _: ""),
        interval=test.interval,
        alpha=alpha,
        is_blind=test.verdict != "PASS",
    )


def _shifts(cases: Sequence[PromptCase]) -> list[int]:
    """Return the shifts along the cases that bring the fewest to a prompt of the same tool."""
    count = len(cases)
    same = {
        shift: sum(
            case.expected_tool == cases[(place + shift) % count].expected_tool for place, case in enumerate(cases)
        )
        for shift in range(1, count)
    }
    return [shift for shift in same if same[shift] == min(same.values())]


def decide_without(
    left_out: Collection[str], rows: Sequence[ResultRow], decisions: Mapping[str, Decision], plan: GatePlan
) -> dict[str, Decision]:
    """Return the decisions on the same responses without the prompts `left_out`; none for an adapter without others."""
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


def follows_from_rows(report: Report) -> bool:
    """Return whether the decisions of a report are about its rows, and its verdict is that of its decisions."""
    plan = report.metadata.plan
    found = decide_without((), report.results, report.decisions, plan)
    means = [
        (getattr(found[name], mean), getattr(one, mean))
        for name, one in report.decisions.items()
        for mean in ("base_mean", "finetuned_mean", "absolute_gain")
        if name in found
    ]
    return (
        found.keys() == report.decisions.keys()
        and all(isclose(*pair, abs_tol=1e-9) for pair in means)
        and is_sound(report.gate, report.decisions, plan)
    )
