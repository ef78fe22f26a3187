"""Saved runs: replays, baselines, regression tests, comparisons, the list of runs and its trend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from pytest_jarvis.metrics.registry import BUILT_IN, RELEVANCE, MetricSpec
from pytest_jarvis.render.french.formats import (
    bar_percent,
    bracket,
    number,
    percent,
    plural,
    printable,
    signed,
    typeset,
)
from pytest_jarvis.render.french.labels import storage
from pytest_jarvis.render.french.metrics import LABELS, figure
from pytest_jarvis.render.french.metrics import difference as change
from pytest_jarvis.render.french.words import table, word
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


def replay_label(source: str) -> str:
    return f"relecture de {printable(source)}"


def answers_label(source: str) -> str:
    return f"réponses lues dans {printable(source)}"


def replay_notes(report: Report) -> list[str]:
    """Return the notes on a replayed report, and on answers made elsewhere; empty for any other."""
    replay, answers = report.provenance.replay, report.provenance.answers
    sentences = [] if replay is None else list(_replay_sentences(report, replay))
    if answers is not None:
        sentences.append(
            f"Réponses lues dans {printable(answers.file)} (SHA-256 {printable(answers.sha256)}) : le modèle, le "
            "moteur et les réglages qui les ont faites sont inconnus. Cosinus, durées et tokens ne sont pas mesurés ; "
            "les réponses des bras ne vont pas par paires."
        )
    return list(map(typeset, sentences))


def replay_mark(report: Report) -> str:
    """Return the short form of `replay_notes`; empty without a replay."""
    replay, answers = report.provenance.replay, report.provenance.answers
    return replay_label(replay.report) if replay else answers_label(answers.file) if answers else ""


def _join_ids(names: Sequence[str]) -> str:
    more = len(names) - _MOST_IDS
    return printable(", ".join(names[:_MOST_IDS])) + (f" … (+ {more})" if more > 0 else "")


def day_of(timestamp: str) -> str:
    """Return a timestamp as « 2026-03-01 12:00 »."""
    return printable(timestamp)[:16].replace("T", " ")


def _replay_sentences(report: Report, replay: ReplayOf) -> Iterator[str]:
    commit = f", commit {printable(replay.commit)[:12]}" if replay.commit else ""
    yield (
        f"Relecture de {printable(replay.report)} (du {day_of(replay.timestamp)}{commit}) : réponses, durées et "
        "mémoire sont celles d’alors ; notes et verdict sont refaits, aucun modèle n’a été chargé."
    )
    for names, what in (
        (replay.prompts_changed, "dont le texte a changé depuis, non notés"),
        (replay.prompts_gone, "qui n’existent plus ici, non notés"),
    ):
        if names:
            yield f"Prompts enregistrés {what} : {_join_ids(names)}."
    if replay.prompts_new:
        yield f"Prompts jamais enregistrés, non notés : {_join_ids(replay.prompts_new)}."
    if replay.stopped_short:
        yield (
            f"L’enregistrement s’arrête à {plural(replay.replicates, 'réponse')} par prompt : un essai réel en aurait "
            "tiré d’autres."
        )
    if replay.cosines == "prompts":
        yield "Cosinus : moyennes enregistrées par prompt, sur toutes leurs réponses (rapport plus ancien)."
    yield from _changed_rules(report, replay)


def _changed_rules(report: Report, replay: ReplayOf) -> Iterator[str]:
    plan, before = report.metadata.plan, replay.plan
    if plan.min_gain != before.min_gain:
        yield f"Gain demandé : {bar_percent(plan.min_gain)} (enregistré : {bar_percent(before.min_gain)})."
    for name, now, then in (
        ("--jarvis-gate", plan.policy, before.policy),
        ("--jarvis-require", plan.require, before.require),
    ):
        if now != then:
            yield f"{name} : {now} (enregistré : {then})."
    if report.provenance.dictionary_hash != replay.dictionary_hash:
        yield "Le dictionnaire des outils a changé depuis : la pertinence est comptée avec celui d’aujourd’hui."
    if report.provenance.prompt_hash != replay.prompt_hash:
        yield "Les prompts (mots-clés, outils attendus ou leur nombre) ont changé depuis."


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
    ]
    return " · ".join(map(printable, parts))


def overlap_sentence(overlap: PromptOverlap) -> str:
    left = [
        f"{what} : {_join_ids(names)}"
        for names, what in (
            (overlap.only_stored, "seulement avant"),
            (overlap.only_new, "seulement après"),
            (overlap.changed, "texte changé"),
        )
        if names
    ]
    sentence = f"Comparaison sur {plural(len(overlap.common), 'prompt commun', 'prompts communs')}"
    more = f" ; laissés de côté – {' ; '.join(left)}" if left else ""
    return typeset(f"{sentence}{more}.")


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


def pair_sentence(stored: str, new: str) -> str:
    if stored == new:
        return typeset(f"Adaptateur {printable(new)} : avant et après.")
    return typeset(f"Adaptateurs comparés : {printable(stored)} (avant) et {printable(new)} (après).")


def interval_rule(alpha: float) -> str:
    return typeset(
        f"Intervalles à {percent(1 - 2 * alpha, 0)} de l’écart (après − avant) sur ces prompts, bruits indépendants. "
        f"▲ et ▼ : hausse et baisse que le bruit n’explique pas (erreur ≤ {percent(alpha, 0)} de chaque côté pour "
        "toutes les lignes d’une mesure, et pour toute la liste des prompts)."
    )


def unchanged_sentence(count: int) -> str:
    return typeset(f"{plural(count, 'autre prompt', 'autres prompts')} sans aucun changement.")


def baseline_is(path: str, report: Report) -> str:
    return typeset(f"Référence : {run_line(path, report)}")


def baseline_was(report: Report) -> str:
    commit = report.provenance.commit
    shown = f" · commit {commit[:12]}" if commit else ""
    return typeset(f"Référence remplacée : essai du {day_of(report.metadata.timestamp)}{printable(shown)}")


def no_baseline(path: str) -> str:
    return typeset(f"Aucune référence ({printable(path)}) : pytest-jarvis baseline set REPORT.json en fixe une.")


def baseline_cleared(path: str) -> str:
    return typeset(f"Référence retirée : {printable(path)}")


REGRESSION_HEADS: Final = ("Mesure", "prompts", "avant", "après", "écart", "intervalle", "jugement")
_MOST_CHANGES: Final = 8


def regression_sentence(outcome: RegressionOutcome) -> str:
    name = printable(outcome.adapter)
    if outcome.verdict == "NOT_JUDGED":
        return typeset(
            f"~ RÉGRESSION NON JUGÉE : {' ; '.join(table('saved_runs.obstacles')[one] for one in outcome.obstacles)}."
        )
    if outcome.verdict == "DROP":
        what = " et ".join(dict.fromkeys(LABELS[test.metric][1] for test in outcome.drops))
        return typeset(f"✗ RÉGRESSION PROUVÉE : {what} en baisse pour {name} (erreur ≤ {percent(outcome.alpha, 0)}).")
    return typeset(f"✓ Aucune régression prouvée de {name} (erreur ≤ {percent(outcome.alpha, 0)}).")


def drop_notes(report: Report) -> list[str]:
    """Return the sentence on a proven drop, for readers of the verdict alone; empty without one."""
    outcome = report.regression
    return [] if outcome is None or outcome.verdict != "DROP" else [regression_sentence(outcome)]


def regression_details(outcome: RegressionOutcome, report: Report) -> list[str]:
    """Return the sentences after `regression_sentence`: the stored run, drops, differences, exit status."""
    return list(map(typeset, _details(outcome, report)))


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


def _details(outcome: RegressionOutcome, report: Report) -> Iterator[str]:
    if outcome.stored is not None:
        yield _stored_sentence(outcome.stored, outcome.adapter)
    for test in outcome.drops:
        difference, unit = test.difference, BUILT_IN[test.metric].spec.unit
        yield (
            f"{printable(_scope_label(test, report))} : {figure(difference.first_mean, unit)} → "
            f"{figure(difference.second_mean, unit)}, {change(difference.difference, unit)} "
            f"{bracket(difference.interval, partial(change, unit=unit))} "
            f"sur {plural(test.prompts, 'prompt')}."
        )
    overlap = outcome.overlap
    if overlap is not None and (overlap.only_stored or overlap.only_new or overlap.changed):
        yield overlap_sentence(overlap)
    if outcome.changes:
        shown = [change_sentence(change) for change in outcome.changes[:_MOST_CHANGES]]
        more = len(outcome.changes) - len(shown)
        yield f"Diffère de la référence : {' ; '.join(shown)}{f' ; … et {more} de plus' if more else ''}."
    if outcome.exit_failed:
        option = "--jarvis-fail-on-regression" if outcome.verdict == "DROP" else "--jarvis-strict"
        yield f"La session échoue, comme {option} le demande."
    elif outcome.verdict == "DROP":
        yield "Le code de sortie n’en dépend pas : ajoutez --jarvis-fail-on-regression."


def _stored_sentence(stored: StoredRun, adapter: str) -> str:
    commit = f", commit {printable(stored.commit)[:12]}" if stored.commit else ""
    named = (
        "" if stored.adapter == adapter else f" ; {printable(stored.adapter)} alors, {printable(adapter)} maintenant"
    )
    when = day_of(stored.timestamp)
    how = table("saved_runs.choices")[stored.chosen]
    return f"Comparé à {printable(stored.report)} ({how}, du {when}{commit}{named})."


_ROUNDED: Final = 0.0005
_FORBIDDING: Final[frozenset[Obstacle]] = frozenset({"other_kind", "other_dictionary"})
"""With these two relevances have no difference; others are a reserve."""

_EXPECTED: Final = ("adapter.", "generation.seed", "responses")
"""What is compared, or differs between two draws of one experiment: names of settings that begin so."""


def is_of_other_scale(found: RunComparison, metric: str) -> bool:
    """Whether the runs score this metric by different rules, so that its difference means nothing."""
    return metric == RELEVANCE and "other_dictionary" in found.obstacles


def conclusion(found: RunComparison, arm: ArmComparison, report: Report) -> list[str]:
    """Return the sentences on the relevance of two compared adapters; `report` has the labels of categories."""
    first, *others = _sentences(found, arm, report)
    return [typeset(f"{word('saved_runs.conclusion')} : {first}"), *map(typeset, others)]


def _sentences(found: RunComparison, arm: ArmComparison, report: Report) -> Iterator[str]:
    relevance = {one.category: one for one in arm.metrics if one.metric == RELEVANCE and not one.of_base}
    forbidding = [table("saved_runs.obstacles")[one] for one in found.obstacles if one in _FORBIDDING]
    if OVERALL not in relevance:
        forbidding.append(table("saved_runs.obstacles")["not_measured"])
    if forbidding:
        yield f"rien n’est conclu sur la pertinence : {' ; '.join(forbidding)}."
        return
    overall = relevance.pop(OVERALL)
    if not overall.difference.difference and not any(one.texts_changed for one in arm.prompts):
        names = dict.fromkeys((printable(arm.stored_adapter), printable(arm.new_adapter)))
        yield (
            f"les réponses communes de {' et de '.join(names)} sont les mêmes, mot pour mot : rien n’y distingue les "
            "deux essais."
        )
        return
    yield _overall(found, arm, overall)
    moved = [
        f"{printable(report.category_label(name))} {_figures(one)}" for name, one in relevance.items() if one.proven
    ]
    if moved:
        yield f"Par catégorie, au-delà du bruit : {', '.join(moved)}."
    worse = sum(one.p_worse is not None for one in arm.prompts)
    if worse:
        yield f"En baisse avérée : {plural(worse, 'prompt')} sur {len(arm.prompts)} (▼)."
    if overall.proven is not None or moved:
        yield from _causes(found, arm, overall.proven)
    for one in found.obstacles:
        if one in table("saved_runs.reserves"):
            yield f"Réserve : {table('saved_runs.reserves')[one]}."


def _overall(found: RunComparison, arm: ArmComparison, one: MetricDifference) -> str:
    before, after = printable(arm.stored_adapter), printable(arm.new_adapter)
    means = (number(one.difference.first_mean, 3), number(one.difference.second_mean, 3))
    where = f"sur {plural(one.prompts, 'prompt commun', 'prompts communs')}"
    if one.proven is not None:
        proof = f"{_figures(one)}, ce que le bruit n’explique pas (erreur ≤ {percent(found.alpha, 0)} de chaque côté)"
        if before == after:
            how = table("saved_runs.same")[one.proven]
            return f"{where}, la pertinence de {after} {how}, de {means[0]} à {means[1]} : {proof}."
        return (
            f"{where}, la pertinence de {after} ({means[1]}) {table('saved_runs.other')[one.proven]} "
            f"que celle de {before} ({means[0]}) : "
            f"{proof}."
        )
    whose = f"pour {after}" if before == after else f"de {before} à {after}"
    sentence = f"{where}, ni hausse ni baisse de la pertinence n’est montrée {whose}"
    seen = f"l’écart vu, {signed(one.difference.difference)}, peut être du bruit"
    if one.corrected is None:
        return f"{sentence} : {seen}, dont une seule réponse ne dit rien."
    # An end that rounds to 0 would seem to leave 0 out.
    digits = 3 if min(map(abs, one.corrected)) >= _ROUNDED else 4
    low, high = (signed(end, digits) for end in one.corrected)
    return f"{sentence} : {seen} ; le vrai écart peut aller de {low} à {high}."


def _figures(one: MetricDifference) -> str:
    return f"{signed(one.difference.difference)} {bracket(one.corrected, signed)}"


def _causes(found: RunComparison, arm: ArmComparison, moved: Direction | None) -> Iterator[str]:
    """Yield causes of the change beside the adapter; `moved` is the direction of its overall relevance."""
    of_base = (one for one in arm.metrics if one.metric == RELEVANCE and one.of_base and one.category == OVERALL)
    base = next(of_base, None)
    if base is not None and base.proven is not None:
        subject = "La base aussi" if base.proven == moved else "La base, elle,"
        how = table("saved_runs.same")[base.proven]
        yield f"{subject} {how} ({_figures(base)}) : l’écart ne vient pas du seul adaptateur."
    elif any(not change.name.startswith(_EXPECTED) for change in found.changes):
        yield "Des réglages diffèrent aussi (voir plus haut) : l’écart n’est peut-être pas celui des seuls poids."


HISTORY_HEADS: Final = ("date (UTC)", "commit", "adapt.", "fait", "gain", "intervalle", "verdict")


def no_run(folder: str) -> str:
    return typeset(f"Aucun essai sous {printable(folder)} : pytest tests/ --jarvis-report en enregistre un.")


def series_title(place: int, series: Series) -> str:
    """Return what the runs of a series share, and why they are not comparable to the series before."""
    made = "réponses fournies par un fichier" if series.base_model == ANSWERS else "moteur factice"
    fake = "" if series.is_real else f", {made}"
    sentence = (
        f"Série {place} : {printable(series.base_model)}, {printable(storage(series.quantization))}, prompts "
        f"{series.prompt_hash[:8]}{fake} ({plural(series.runs, 'essai')})"
    )
    if not series.differs:
        return typeset(sentence)
    return typeset(f"{sentence}. Pas comparable à la précédente : {', '.join(map(setting_label, series.differs))}.")


def verdict_of(entry: HistoryEntry) -> str:
    """Return the verdict of a run in a word, or why it has none."""
    if entry.is_twin:
        return "A/A"
    if entry.is_replay:
        return "relecture"
    if entry.is_interrupted:
        return "interrompu"
    if entry.is_selection:
        return "sélection"
    return "sans seuil" if entry.verdict == "OFF" else table("verdicts.adapter_verdicts")[entry.verdict]


def trend_title(adapter: str) -> str:
    return typeset(f"Tendance : {printable(adapter)}")


def commit_of(entry: HistoryEntry) -> str:
    """Return seven digits of the commit, with a plus where files differed from it."""
    return "–" if entry.commit is None else f"{printable(entry.commit)[:7]}{'+' if entry.dirty else ''}"


def baseline_line(entry: HistoryEntry) -> str:
    return typeset(f"Référence : {day_of(entry.timestamp)} · {printable(entry.report)}")


def report_skipped(sentence: str) -> str:
    return typeset(f"Rapport ignoré : {printable(sentence)}")


def trend_written(path: str) -> str:
    return typeset(f"Tendance dessinée : {printable(path)}")


def history_legend(*, dirty: bool) -> str:
    return typeset(
        "[──o──] : intervalle et gain vu ; │ : gain nul. fait : part des actions faites."
        + (" + : fichiers modifiés depuis le commit." if dirty else "")
    )
