"""The gate: the thresholds and failures of all adapters become one verdict and an exit status."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from pytest_jarvis.stats.decision import Decision
from pytest_jarvis.stats.thresholds import Threshold, ThresholdVerdict, judge_failure_share, judge_gain, withhold
from pytest_jarvis.types import BASE_ARM, GatePlan

GateVerdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT_JUDGED", "OFF"]
ReasonCode = Literal[
    "nothing_measured",
    "interrupted",
    "partial_selection",
    "failures",
    "missing_pairs",
    "prompts_changed",
    "bar_not_measured",
    "strict",
    "unjudged",
    "seen_under_bar",
    "measure_blind",
    "measures_disagree",
    "tolerated",
    "altered",
]
"""nothing_measured: no pair of responses, or none of a required adapter (`others`: the prompts others have a pair of).
interrupted: the session was stopped by hand before its end.
partial_selection: `selected` of the `planned` prompts were asked for (-k, -m).
failures: `failed` of `planned` responses (of the run, or of its worst arm), a share of `share` where `allowed` is.
missing_pairs: `missing` of `selected` prompts lack an arm, or `responses` planned responses were never generated.
prompts_changed: the prompts are not those the verdict is about.
bar_not_measured: a configured threshold has no value, so the others prove too little. Exits as inconclusive.
strict: not judged counts as failed, a selection too (--jarvis-strict).
unjudged: not judged though all prompts were asked (--jarvis-unjudged=warn accepts it).
seen_under_bar: not proven, but a value is below its threshold: never exits 0.
measure_blind: the answers of an adapter that passes are not shown to score more than if each were given to another
prompt: never green. measures_disagree: of relevance and deeds one is proven to rise and the other does not (`relevance`
in per cent of the base's, `deeds` in points).
altered: the report was changed after the run, so that its verdict was not earned.
tolerated: inconclusive or not judged, and accepted (--jarvis-inconclusive=warn, --jarvis-unjudged=warn).
"""

_SEVERITY: Final[Mapping[ThresholdVerdict, int]] = {"PASS": 0, "INCONCLUSIVE": 1, "NOT_JUDGED": 2, "FAIL": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of planned, measured and failed prompts and responses."""

    prompts_planned: int
    """Prompts of the whole benchmark."""
    prompts_selected: int
    prompts_measured: int
    """Selected prompts with at least one response of every arm."""
    responses_planned: int
    """Of the selected prompts, in all arms and replicates of the looks taken."""
    responses_failed: int
    responses_missing: int = 0
    """Neither generated nor failed: the run stopped before (-x, --maxfail, a worker that died)."""
    interrupted: bool = False
    """Stopped by hand (Ctrl-C) before its end."""
    prompts_changed: bool = False
    failures_by_arm: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Arm (`base` for the base) -> responses failed and planned; when empty, only the totals are judged."""
    measured_by_adapter: Mapping[str, int] = field(default_factory=dict)
    """Adapter -> selected prompts with a response of the base and of it; when empty, `prompts_measured` is each's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why the run is not judged, or exits as it does, with its figures."""

    code: ReasonCode
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterVerdict:
    """One adapter's verdict over all its thresholds."""

    name: str
    verdict: ThresholdVerdict
    seen_under_bar: bool
    """A value is below its threshold, whatever is proven."""
    is_blind: bool = False
    """It would pass, but answers given to other prompts score as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOutcome:
    """The verdict of a run."""

    verdict: GateVerdict
    exit_failed: bool
    """Whether the gate sets exit status 1."""
    reasons: tuple[Reason, ...]
    adapters: tuple[AdapterVerdict, ...]
    thresholds: tuple[Threshold, ...]


def judge_run(
    decisions: Mapping[str, Decision | None],
    facts: Counts,
    plan: GatePlan,
    extra_thresholds: Sequence[Threshold] = (),
    blind: Collection[str] = (),
) -> GateOutcome:
    """Return the verdict of a run and whether it exits 1.

    `decisions`: relevance, by adapter in the order named; None without a pair of responses. With another headline it
    stands beside. `extra_thresholds`: the other bars; an adapter passes when it meets its own and those of the run. An
    adapter with too many failures, or without a pair for some prompt, is not judged; when it is required, or the base
    fails too often, the run is not. A run of all prompts that is not judged exits 1, unless the plan tolerates it.
    Nothing measured is never green, and a value below its threshold on the full selection exits 1 whatever is proven,
    unless the gate is off. An adapter among the `blind` never passes.
    """
    obstacles = tuple(_obstacles(tuple(decisions), facts, plan))
    shares = _failure_shares(facts, plan)
    bars = [
        *(
            judge_gain("relevance_gain", name, decision, bar=plan.min_gain, policy=plan.policy)
            for name, decision in decisions.items()
            if plan.primary == "relevance"
        ),
        *extra_thresholds,
    ]
    if plan.policy != "off":
        broken = {share.adapter for share in shares if share.meets is False}
        broken |= {name for name in decisions if _measured(name, facts) < facts.prompts_selected}
        bars = [withhold(bar) if obstacles or bar.adapter in broken else bar for bar in bars]
    adapters = tuple(_judge_adapter(name, bars, is_blind=name in blind) for name in decisions)
    verdict, exit_failed, more = _conclude(obstacles, adapters, (*shares, *bars), facts, plan)
    more = (*more, *_disagreements(decisions, bars))
    return GateOutcome(
        verdict=verdict,
        exit_failed=exit_failed,
        reasons=(*obstacles, *more),
        adapters=adapters,
        thresholds=(*shares, *bars),
    )


def withdraw(gate: GateOutcome) -> GateOutcome:
    """Return the outcome of a report that was changed after the run: nothing in it is judged."""
    return replace(
        gate,
        verdict="NOT_JUDGED",
        exit_failed=True,
        reasons=(Reason(code="altered"), *gate.reasons),
        adapters=tuple(replace(one, verdict="NOT_JUDGED") for one in gate.adapters),
        thresholds=tuple(map(withhold, gate.thresholds)),
    )


def is_sound(gate: GateOutcome, decisions: Mapping[str, Decision], plan: GatePlan) -> bool:
    """Return whether the verdicts of a gate that judged are those of its thresholds, and these of the decisions."""
    if gate.verdict in {"NOT_JUDGED", "OFF"}:
        return True
    gains = [bar for bar in gate.thresholds if bar.name == "relevance_gain" and bar.verdict != "NOT_JUDGED"]
    return (
        gate.verdict in {one.verdict for one in gate.adapters}
        and all(_judge_adapter(one.name, gate.thresholds, is_blind=one.is_blind) == one for one in gate.adapters)
        and all(
            judge_gain(bar.name, name, decisions.get(name), bar=bar.bar, policy=plan.policy).verdict == bar.verdict
            for bar in gains
            if (name := bar.adapter) is not None
        )
    )


def _failure_shares(facts: Counts, plan: GatePlan) -> tuple[Threshold, ...]:
    """Return the threshold on failures: of each arm where they are counted by arm, else of the run."""
    counts: list[tuple[str | None, tuple[int, int]]] = [*facts.failures_by_arm.items()]
    if not counts:
        counts = [(None, (facts.responses_failed, facts.responses_planned))]
    return tuple(
        judge_failure_share(failed, planned, arm=arm, bar=plan.max_failure_share, policy=plan.policy)
        for arm, (failed, planned) in counts
    )


def _too_many_failures(names: tuple[str, ...], facts: Counts, plan: GatePlan) -> Reason | None:
    if not facts.failures_by_arm:
        return _failures(facts.responses_failed, facts.responses_planned, plan)
    found = {arm: _failures(*counts, plan) for arm, counts in facts.failures_by_arm.items()}
    required = [found.get(name) for name in (names[:1] if plan.require == "first" else names)]
    if plan.require == "any" and not all(required):
        required = []  # one that did not fail too often may still be the one that passes
    reasons = [reason for reason in (found.get(BASE_ARM), *required) if reason]
    return max(reasons, key=lambda reason: reason.values["share"], default=None)


def _failures(failed: int, planned: int, plan: GatePlan) -> Reason | None:
    share = failed / planned if planned else 0.0
    if share <= plan.max_failure_share:
        return None
    values = {"failed": failed, "planned": planned, "share": share, "allowed": plan.max_failure_share}
    return Reason(code="failures", values=values)


def _obstacles(names: tuple[str, ...], facts: Counts, plan: GatePlan) -> Iterator[Reason]:
    counts = [_measured(name, facts) for name in (names[:1] if plan.require == "first" else names)]
    measured = (max if plan.require == "any" else min)(counts, default=0)
    if measured == 0:
        yield Reason(code="nothing_measured", values={"others": float(max(counts))} if any(counts) else {})
    if facts.interrupted:
        yield Reason(code="interrupted")
    if facts.prompts_selected < facts.prompts_planned:
        yield Reason(
            code="partial_selection", values={"selected": facts.prompts_selected, "planned": facts.prompts_planned}
        )
    if failures := _too_many_failures(names, facts, plan):
        yield failures
    missing = facts.prompts_selected - measured
    if missing or facts.responses_missing:
        values = {"missing": missing, "selected": facts.prompts_selected, "responses": facts.responses_missing}
        yield Reason(code="missing_pairs", values=values)
    if facts.prompts_changed:
        yield Reason(code="prompts_changed")


def _measured(name: str, facts: Counts) -> int:
    return facts.measured_by_adapter.get(name, facts.prompts_measured)


def _judge_adapter(name: str, thresholds: Sequence[Threshold], *, is_blind: bool) -> AdapterVerdict:
    own = [threshold for threshold in thresholds if threshold.adapter in {name, None}]
    found: list[ThresholdVerdict] = [threshold.verdict for threshold in own] or ["NOT_JUDGED"]
    verdict = max(found, key=lambda verdict: _SEVERITY[verdict])
    is_blind = is_blind and verdict == "PASS"
    return AdapterVerdict(
        name=name,
        verdict="INCONCLUSIVE" if is_blind else verdict,
        seen_under_bar=any(threshold.meets is False for threshold in own),
        is_blind=is_blind,
    )


def _disagreements(decisions: Mapping[str, Decision | None], bars: Sequence[Threshold]) -> Iterator[Reason]:
    """Yield where relevance and deeds of an adapter disagree: one is proven to rise, and the other does not."""
    for bar in bars:
        decision = decisions.get(bar.adapter or "")
        is_deeds = bar.name == "done_gain" or (bar.name == "no_drop" and bar.metric == "deeds")
        if not is_deeds or bar.value is None or decision is None or decision.gain is None:
            continue
        rises = bar.values.get("lower", 0.0) > 0
        if (decision.verdict == "PASS" and bar.value <= 0) or (rises and decision.gain <= 0):
            yield Reason(code="measures_disagree", values={"relevance": 100 * decision.gain, "deeds": 100 * bar.value})


def _conclude(
    obstacles: tuple[Reason, ...],
    adapters: tuple[AdapterVerdict, ...],
    thresholds: Sequence[Threshold],
    facts: Counts,
    plan: GatePlan,
) -> tuple[GateVerdict, bool, tuple[Reason, ...]]:
    """Return the run's verdict, whether it exits 1, and further reasons."""
    if any(reason.code == "nothing_measured" for reason in obstacles):
        return ("NOT_JUDGED", True, ())
    if plan.policy == "off":
        return ("OFF", False, ())
    required = adapters[:1] if plan.require == "first" else adapters
    choose = min if plan.require == "any" else max
    verdict = choose((adapter.verdict for adapter in required), key=lambda one: _SEVERITY[one])
    under = (all if plan.require == "any" else any)(adapter.seen_under_bar for adapter in required)
    if verdict in {"PASS", "FAIL"}:
        return (verdict, verdict == "FAIL", ())
    # Thresholds are about the full selection: a part of the prompts has no value to compare.
    seen_under_bar = under and facts.prompts_selected == facts.prompts_planned
    why: list[Reason] = [Reason(code="seen_under_bar")] if seen_under_bar else []
    blind = [adapter for adapter in required if adapter.is_blind]
    why += [Reason(code="measure_blind")] if blind and verdict == "INCONCLUSIVE" else []
    why += [Reason(code="strict")] if plan.strict and verdict == "NOT_JUDGED" else []
    if obstacles:
        # A selection was meant, and an interruption has an exit status of its own.
        if not (why or {"partial_selection", "interrupted"} & {reason.code for reason in obstacles}):
            why = [Reason(code="tolerated" if "warn" in {plan.inconclusive, plan.unjudged} else "unjudged")]
        return (verdict, any(reason.code != "tolerated" for reason in why), tuple(why))
    missing = _what_is_missing(thresholds, [adapter.name for adapter in required], facts, plan)
    if plan.inconclusive == "warn" and not why:
        return (verdict, False, (*missing, Reason(code="tolerated")))
    return (verdict, True, (*missing, *why))


def _what_is_missing(
    thresholds: Sequence[Threshold], required: Sequence[str], facts: Counts, plan: GatePlan
) -> tuple[Reason, ...]:
    counts = [facts.failures_by_arm[name] for name in required if name in facts.failures_by_arm]
    failures = [reason for failed, planned in counts if (reason := _failures(failed, planned, plan))]
    unmeasured = any(bar.why == "not_measured" and bar.adapter in {None, *required} for bar in thresholds)
    return (*failures[:1], *([Reason(code="bar_not_measured")] if unmeasured else []))
