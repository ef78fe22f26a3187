"""Saved runs: replays, baselines, regression tests, comparisons, the list of runs and its trend."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from pytest_jarvis.metrics.registry import BUILT_IN, RELEVANCE, MetricSpec
from pytest_jarvis.render.french.formats import bar_percent, bracket, plural, printable, signed, typeset
from pytest_jarvis.render.french.labels import storage
from pytest_jarvis.render.french.metrics import LABELS, figure
from pytest_jarvis.render.french.metrics import difference as change
from pytest_jarvis.render.french.words import fill, table, word
from pytest_jarvis.report.comparison import ArmComparison, MetricDifference, RunComparison
from pytest_jarvis.report.history import HistoryEntry, Series
from pytest_jarvis.report.schema import ReplayOf, Report
from pytest_jarvis.stats.regression import (
    OVERALL,
    Direction,
    Obstacle,
    PromptOverlap,
    RegressionOutcome,
    ScopeTest,
    SettingChange,
    StoredRun,
)
from pytest_jarvis.types import ANSWERS, Storage

_MOST_IDS: Final = 8


def replay_notes(report: Report) -> list[str]:
    """Return the notes on a replayed report, and on answers made elsewhere; empty for any other."""
    replay, answers = report.provenance.replay, report.provenance.answers
    sentences = [] if replay is None else list(_replay_sentences(report, replay))
    if replay is not None and replay.altered:
        sentences.append(word("saved_runs.replay_altered"))
    if answers is not None:
        sentences.append(word("saved_runs.answers_note", file=answers.file, sha256=answers.sha256))
    return sentences


def replay_mark(report: Report) -> str:
    """Return the short form of `replay_notes`; empty without a replay."""
    replay, answers = report.provenance.replay, report.provenance.answers
    if replay is not None:
        return word("saved_runs.replay", report=replay.report)
    return word("saved_runs.answers", file=answers.file) if answers else ""


def _join_ids(names: Sequence[str]) -> str:
    more = len(names) - _MOST_IDS
    return printable(", ".join(names[:_MOST_IDS])) + (f" … (+ {more})" if more > 0 else "")


def day_of(timestamp: str) -> str:
    """Return a timestamp as « 2026-03-01 12:00 »."""
    return printable(timestamp)[:16].replace("T", " ")


def _replay_sentences(report: Report, replay: ReplayOf) -> Iterator[str]:
    commit = f", commit {replay.commit[:12]}" if replay.commit else ""
    yield word("replay.of", report=replay.report, day=day_of(replay.timestamp), commit=commit)
    for names, sentence in (
        (replay.prompts_changed, table("replay.prompts")["changed"]),
        (replay.prompts_gone, table("replay.prompts")["gone"]),
        (replay.prompts_new, table("replay.prompts")["new"]),
    ):
        if names:
            yield fill(sentence, {"names": _join_ids(names)})
    if replay.stopped_short:
        yield word("replay.stopped_short", count=replay.replicates)
    if replay.cosines == "prompts":
        yield word("replay.old_cosines")
    plan, before = report.metadata.plan, replay.plan
    for name, now, then in (
        (word("replay.gain"), bar_percent(plan.min_gain), bar_percent(before.min_gain)),
        ("--jarvis-gate", plan.policy, before.policy),
        ("--jarvis-require", plan.require, before.require),
    ):
        if now != then:
            yield word("replay.rule", name=name, now=now, then=then)
    if report.provenance.dictionary_hash != replay.dictionary_hash:
        yield word("replay.other_dictionary")
    if report.provenance.prompt_hash != replay.prompt_hash:
        yield word("replay.other_prompts")


METRIC_HEADS: Final = ("Mesure", "prompts", word("saved_runs.before"), word("saved_runs.after"), "écart", "intervalle")
PROMPT_HEADS: Final = ("Prompt", "pertinence", "mots-clés", "cosinus", "textes")


MARKS: Final[Mapping[Direction | None, str]] = {"rise": " ▲", "drop": " ▼", None: ""}
"""Of a change that noise does not explain, with the space before it."""


def metric_label(spec: MetricSpec, *, of_base: bool) -> str:
    """Return the label of a metric; the name of a custom one."""
    if spec.name not in LABELS:
        return printable(spec.name)
    label = LABELS[spec.name][1]
    return f"{label[:1].upper()}{label[1:]}{', base' if of_base else ''}"


def run_line(path: str, report: Report) -> str:
    commit, dirty = report.provenance.commit, report.provenance.dirty
    parts = [
        path,
        day_of(report.metadata.timestamp),
        f"commit {commit[:12]}{' (modifié)' if dirty else ''}" if commit else "sans commit",
        f"{report.metadata.base_model} + {', '.join(report.metadata.adapters)}",
        f"{plural(report.metadata.samples_per_prompt, 'réponse')} par prompt",
        *(["modifié après coup"] if report.is_altered else []),
    ]
    return " · ".join(map(printable, parts))


def overlap_sentence(overlap: PromptOverlap) -> str:
    whats = table("saved_runs.left_out")
    found = {"stored": overlap.only_stored, "new": overlap.only_new, "changed": overlap.changed}
    left = " ; ".join(f"{whats[what]} : {_join_ids(names)}" for what, names in found.items() if names)
    common = len(overlap.common)
    if not left:
        return word("saved_runs.overlap", common=common)
    return word("saved_runs.part_overlap", common=common, left=left)


def setting_label(name: str) -> str:
    if name.startswith("adapter."):
        return f"poids de l’adaptateur {name.removeprefix('adapter.').replace('.', ' → ')}"
    if name.startswith("versions."):
        return f"version de {name.removeprefix('versions.')}"
    return table("saved_runs.settings").get(name, name.removeprefix("generation."))


def change_sentence(change: SettingChange) -> str:
    label = setting_label(change.name)
    values = (storage(one) if isinstance(one, Storage) else one for one in (change.stored, change.new))
    before, after = (printable(value) or "–" for value in values)
    return typeset(f"{printable(label)} : {before} → {after}")


REGRESSION_HEADS: Final = ("Mesure", "prompts", "avant", "après", "écart", "intervalle", "jugement")
_MOST_CHANGES: Final = 8


def regression_sentence(outcome: RegressionOutcome) -> str:
    if outcome.verdict == "NOT_JUDGED":
        why = " ; ".join(table("saved_runs.obstacles")[one] for one in outcome.obstacles)
        return word("saved_runs.regression_not_judged", why=why)
    if outcome.verdict == "DROP":
        what = " et ".join(dict.fromkeys(LABELS[test.metric][1] for test in outcome.drops))
        return word("saved_runs.regression", what=what, name=outcome.adapter, error=outcome.alpha)
    return word("saved_runs.no_regression", name=outcome.adapter, error=outcome.alpha)


def drop_notes(report: Report) -> list[str]:
    """Return the sentence on a proven drop, for readers of the verdict alone; empty without one."""
    outcome = report.regression
    return [] if outcome is None or outcome.verdict != "DROP" else [regression_sentence(outcome)]


def regression_cells(test: ScopeTest, report: Report) -> Sequence[str]:
    """Return the cells of one test, under `REGRESSION_HEADS`."""
    difference, unit = test.difference, BUILT_IN[test.metric].spec.unit
    return (
        _scope_label(test, report),
        str(test.prompts),
        *(figure(mean, unit) for mean in (difference.first_mean, difference.second_mean)),
        change(difference.difference, unit),
        bracket(difference.interval, partial(change, unit=unit)),
        "✗ baisse" if test.proven_drop else "–",
    )


def _scope_label(test: ScopeTest, report: Report) -> str:
    scope = report.category_label(test.category) if test.category else word("labels.total")
    return f"{scope}, {LABELS[test.metric][1]}" if test.metric != RELEVANCE else scope


def regression_details(outcome: RegressionOutcome, report: Report) -> Iterator[str]:
    """Yield the sentences after `regression_sentence`: the stored run, drops, differences, exit status."""
    if outcome.stored is not None:
        yield _stored_sentence(outcome.stored, outcome.adapter)
    for test in outcome.drops:
        difference, unit = test.difference, BUILT_IN[test.metric].spec.unit
        yield word(
            "saved_runs.drop",
            scope=_scope_label(test, report),
            before=figure(difference.first_mean, unit),
            after=figure(difference.second_mean, unit),
            change=change(difference.difference, unit),
            interval=bracket(difference.interval, partial(change, unit=unit)),
            prompts=test.prompts,
        )
    overlap = outcome.overlap
    if overlap is not None and (overlap.only_stored or overlap.only_new or overlap.changed):
        yield overlap_sentence(overlap)
    if outcome.changes:
        shown = [change_sentence(change) for change in outcome.changes[:_MOST_CHANGES]]
        if more := len(outcome.changes) - len(shown):
            shown.append(word("labels.more_entries", count=more))
        yield word("saved_runs.differs", settings=" ; ".join(shown))
    if outcome.exit_failed:
        option = "--jarvis-fail-on-regression" if outcome.verdict == "DROP" else "--jarvis-strict"
        yield word("saved_runs.session_fails", option=option)
    elif outcome.verdict == "DROP":
        yield word("saved_runs.exit_status")


def _stored_sentence(stored: StoredRun, adapter: str) -> str:
    named = word("saved_runs.other_name", before=stored.adapter, after=adapter)
    return word(
        "saved_runs.compared_with",
        report=stored.report,
        how=table("saved_runs.choices")[stored.chosen],
        day=day_of(stored.timestamp),
        commit=f", commit {stored.commit[:12]}" if stored.commit else "",
        named="" if stored.adapter == adapter else named,
    )


_ROUNDED: Final = 0.0005
_FORBIDDING: Final[frozenset[Obstacle]] = frozenset({"other_kind", "other_dictionary"})
"""With these two relevances have no difference; others are a reserve."""

_EXPECTED: Final = ("adapter.", "generation.seed", "responses")
"""What is compared, or differs between two draws of one experiment: names of settings that begin so."""


def conclusion(found: RunComparison, arm: ArmComparison, report: Report) -> list[str]:
    """Return the sentences on the relevance of two compared adapters; `report` has the labels of categories."""
    first, *others = _sentences(found, arm, report)
    return [typeset(f"{word('saved_runs.conclusion')} : {first}"), *others]


def _sentences(found: RunComparison, arm: ArmComparison, report: Report) -> Iterator[str]:
    relevance = {one.category: one for one in arm.metrics if one.metric == RELEVANCE and not one.of_base}
    forbidding = [table("saved_runs.obstacles")[one] for one in found.obstacles if one in _FORBIDDING]
    if OVERALL not in relevance:
        forbidding.append(table("saved_runs.obstacles")["not_measured"])
    if forbidding:
        yield word("conclusion.none", why=" ; ".join(forbidding))
        return
    overall = relevance.pop(OVERALL)
    if not overall.difference.difference and not any(one.texts_changed for one in arm.prompts):
        names = dict.fromkeys((arm.stored_adapter, arm.new_adapter))
        yield word("conclusion.same_texts", names=" et de ".join(names))
        return
    yield _overall(found, arm, overall)
    moved = [f"{report.category_label(name)} {_figures(one)}" for name, one in relevance.items() if one.proven]
    if moved:
        yield word("conclusion.by_category", moved=", ".join(moved))
    if worse := sum(one.p_worse is not None for one in arm.prompts):
        yield word("conclusion.worse", count=worse, prompts=len(arm.prompts))
    if overall.proven is not None or moved:
        yield from _causes(found, arm, overall.proven)
    for one in found.obstacles:
        if one in table("saved_runs.reserves"):
            yield word("conclusion.reserve", what=table("saved_runs.reserves")[one])


def _overall(found: RunComparison, arm: ArmComparison, one: MetricDifference) -> str:
    same = arm.stored_adapter == arm.new_adapter
    values = {
        "prompts": one.prompts,
        "before": arm.stored_adapter,
        "after": arm.new_adapter,
        "first": one.difference.first_mean,
        "second": one.difference.second_mean,
        "seen": one.difference.difference,
        "figures": _figures(one),
        "error": found.alpha,
    }
    if one.proven is not None:
        how = table("saved_runs.same" if same else "saved_runs.other")[one.proven]
        return word("conclusion.moved" if same else "conclusion.apart", how=how, **values)
    values["whose"] = fill(table("conclusion.whose")["same" if same else "other"], values)
    if one.corrected is None:
        return word("conclusion.single_response", **values)
    # An end that rounds to 0 would seem to leave 0 out.
    digits = 3 if min(map(abs, one.corrected)) >= _ROUNDED else 4
    low, high = (signed(end, digits) for end in one.corrected)
    return word("conclusion.not_shown", low=low, high=high, **values)


def _figures(one: MetricDifference) -> str:
    return f"{signed(one.difference.difference)} {bracket(one.corrected, signed)}"


def _causes(found: RunComparison, arm: ArmComparison, moved: Direction | None) -> Iterator[str]:
    """Yield causes of the change beside the adapter; `moved` is the direction of its overall relevance."""
    of_base = (one for one in arm.metrics if one.metric == RELEVANCE and one.of_base and one.category == OVERALL)
    base = next(of_base, None)
    if base is not None and base.proven is not None:
        how = table("saved_runs.same")[base.proven]
        subject = word("conclusion.base_too") if base.proven == moved else word("conclusion.base_alone")
        yield word("conclusion.base_moved", subject=subject, how=how, figures=_figures(base))
    elif any(not change.name.startswith(_EXPECTED) for change in found.changes):
        yield word("conclusion.settings")


HISTORY_HEADS: Final = ("date (UTC)", "commit", "adapt.", "fait", "gain", "intervalle", "verdict")


def series_title(place: int, series: Series) -> str:
    """Return what the runs of a series share, and why they are not comparable to the series before."""
    made = word("history.answers") if series.base_model == ANSWERS else word("history.fake")
    sentence = word(
        "history.series",
        place=place,
        model=series.base_model,
        storage=storage(series.quantization),
        prompts=series.prompt_hash[:8],
        fake="" if series.is_real else f", {made}",
        runs=series.runs,
    )
    if not series.differs:
        return sentence
    return word("history.differs", series=sentence, settings=", ".join(map(setting_label, series.differs)))


def verdict_of(entry: HistoryEntry) -> str:
    """Return the verdict of a run in a word, or why it has none."""
    if entry.is_altered:
        return "modifié"
    if entry.is_twin:
        return "A/A"
    if entry.is_replay:
        return "relecture"
    if entry.is_interrupted:
        return "interrompu"
    if entry.is_selection:
        return "sélection"
    return "sans seuil" if entry.verdict == "OFF" else table("verdicts.adapter_verdicts")[entry.verdict]


def commit_of(entry: HistoryEntry) -> str:
    """Return seven digits of the commit, with a plus where files differed from it."""
    return "–" if entry.commit is None else f"{printable(entry.commit)[:7]}{'+' if entry.dirty else ''}"
