"""What a verdict rests on, cautions (contamination among them) and advice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pytest_jarvis.inputs.contamination import Contamination
from pytest_jarvis.metrics.tool_choice import Routing
from pytest_jarvis.render.french.formats import (
    bar_percent,
    bracket,
    count_of,
    gain_interval,
    number,
    percent,
    plural,
    printable,
    signed,
    typeset,
)
from pytest_jarvis.render.french.metrics import figure, find_spec, short_label
from pytest_jarvis.render.french.notes import french_note
from pytest_jarvis.render.french.saved_runs import replay_notes
from pytest_jarvis.render.french.verdicts import early_look, is_judged, look_suffix, verdict_line
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.analysis.advice import Advice, AdviceCode, DiagnosticWarning, WeakestCategory
from pytest_jarvis.report.analysis.tool_choice import offers_tools
from pytest_jarvis.report.schema import JudgedContamination, Report
from pytest_jarvis.stats.decision import Caution, Decision
from pytest_jarvis.types import GatePlan

_PROVEN: Final[Mapping[tuple[AdviceCode, AdviceCode | None], str]] = {
    ("EFFICACE", "EFFICACE"): "et c’est prouvé : même le bas de l’intervalle dépasse 10 %.",
    ("EFFICACE", "MODERE"): "dont au moins 5 % sont prouvés, mais pas plus de 10 %.",
    ("MODERE", "MODERE"): "et c’est prouvé : même le bas de l’intervalle atteint 5 %.",
    ("INSUFFISANT", "INSUFFISANT"): "et c’est prouvé : même le haut de l’intervalle n’atteint pas 5 %.",
    ("EFFICACE", None): "mais ce n’est pas prouvé : le vrai gain peut être sous 5 %.",
    ("MODERE", None): "mais ce n’est pas prouvé : le vrai gain peut être sous 5 %.",
    ("INSUFFISANT", None): "sans preuve : le vrai gain peut atteindre 5 %.",
}


def advice_of(report: Report, name: str, advice: Advice) -> str:
    """Return the advice on an adapter of a report in one line."""
    return advice_line(advice, judged=is_judged(report), early=early_look(report, report.decisions.get(name)))


def advice_line(advice: Advice, *, judged: bool = True, early: int = 0) -> str:
    """Return the level of the gain seen, and whether it is proven if the run is judged; `early` is `early_look`."""
    seen = f"gain de {percent(advice.gain, signed=True)}{look_suffix(early)}"
    gain = "gain sans borne (la base est à 0)" if advice.gain is None else seen
    proof = _PROVEN.get((advice.code, advice.proven_code), _PROVEN[advice.code, None])
    return typeset(
        f"{table('explanations.advice')[advice.code]} : {gain}, {proof if judged else word('explanations.no_proof')}"
    )


def caution_sentence(caution: Caution) -> str:
    values = {name: number(value, 0 if value == int(value) else 3) for name, value in caution.values.items()}
    values["prompts"] = plural(int(caution.values.get("prompts", 0)), "prompt")
    return typeset(table("explanations.cautions")[caution.code].format_map(values))


def warning_sentence(warning: DiagnosticWarning) -> str:
    values = {name: number(value, 0 if warning.code == "length" else 1) for name, value in warning.values.items()}
    values["ratio"] = number(warning.values.get("ratio"), 1)
    values["share"] = percent(warning.values.get("share"), 0)
    values["base_share"] = percent(warning.values.get("base"), 0)
    return typeset(table("explanations.warnings")[warning.code].format_map(values))


def weakest_sentence(weakest: WeakestCategory, label: str) -> str:
    spec = find_spec(weakest.metric)
    why = "nettement sous les autres" if weakest.shown else "l’écart avec les autres peut être du bruit"
    return typeset(
        f"Catégorie à travailler en premier : {printable(label)} ({short_label(spec)} "
        f"{figure(weakest.estimate.mean, unit=spec.unit)}, "
        f"{figure(weakest.others_mean, unit=spec.unit)} ailleurs ; {why})."
    )


def regressions_sentence(count: int, prompts: int) -> str:
    if prompts == 0:
        return ""
    if count == 0:
        return typeset("Aucun prompt n’a baissé plus que le bruit ne l’explique.")
    verb = "a baissé" if count == 1 else "ont baissé"
    return typeset(f"{plural(count, 'prompt')} sur {prompts} {verb} plus que le bruit ne l’explique :")


def settle_sentence(responses: int) -> str:
    how = "benchmark.looks = [4, 8, 16, 32, 64]" if responses <= 64 else f"--jarvis-samples {responses}"
    return typeset(
        f"Il faudrait environ {plural(responses, 'réponse')} par prompt et par bras pour trancher, si le vrai gain est "
        "celui qui a été vu. En ajouter à celles-ci serait un second test, qui double l’erreur : planifiez un essai "
        f"neuf, d’une autre graine (--jarvis-seed), avec {how}."
    )


def explain_report(report: Report, name: str) -> list[str]:
    """Return `explain_decision` for an adapter of a report."""
    decision, gain = report.decisions[name], report.by_adapter[name].statistics.relevance_gain
    later = (report.metadata.samples_per_prompt, gain) if early_look(report, decision) else None
    return explain_decision(decision, report.metadata.plan, name, later=later, judged=is_judged(report))


def explain_decision(
    decision: Decision, plan: GatePlan, name: str, *, later: tuple[int, float | None] | None = None, judged: bool = True
) -> list[str]:
    """Return a decision in plain sentences: what was compared, the finding, its certainty, what would settle it.

    `later` is the number of responses per prompt generated in all after an early verdict, and the gain over them.
    """
    shown = printable(name)
    sentences = [
        *_explanation(decision, plan, shown, judged=judged),
        *(_early(decision, shown, *later, judged=judged) if later else _stop(decision, plan, judged=judged)),
    ]
    return [*map(typeset, sentences), *map(caution_sentence, decision.cautions)]


def _explanation(decision: Decision, plan: GatePlan, name: str, *, judged: bool) -> Iterator[str]:
    low, high = decision.replicates
    each = str(high) if low == high else f"{low} à {high}"
    yield (
        f"Pertinence moyenne sur {plural(decision.prompts, 'prompt')}, {each} réponse(s) par prompt et par bras : "
        f"{number(decision.base_mean, 3)} pour la base, {number(decision.finetuned_mean, 3)} pour {name}."
    ).replace("réponse(s)", "réponse" if high == 1 else "réponses")
    yield _finding(decision, plan) if judged else f"{_seen(decision)} Cette session n’est pas jugée."
    if decision.responses_to_settle is not None:
        yield settle_sentence(decision.responses_to_settle)
    if decision.prompts_to_settle is not None:
        yield (
            f"Il faudrait environ {plural(decision.prompts_to_settle, 'prompt')} du même genre pour trancher, si le "
            "vrai gain est celui qui a été vu."
        )
    if decision.verdict_new is not None and decision.target == "these" and judged:
        shown = {"PASS": "y est montré aussi", "FAIL": "y est écarté", "INCONCLUSIVE": "n’y est pas montré"}
        bar = bar_percent(decision.min_gain)
        yield (
            f"Sur de nouveaux prompts du même genre, l’intervalle est {gain_interval(decision.gain_new)} : un gain "
            f"d’au moins {bar} {shown[decision.verdict_new]}."
        )
    if decision.detectable_gain is not None and decision.ground == "test":
        yield (
            f"Autant de réponses montrent, dans 80 % des cas, un vrai gain d’au moins "
            f"{percent(decision.detectable_gain, signed=True)}."
        )
    if decision.decoding_share is not None:
        yield (
            f"Le bruit vient pour {percent(decision.decoding_share, 0)} du décodage, pour "
            f"{percent(1 - decision.decoding_share, 0)} des différences entre prompts."
        )


def _early(decision: Decision, name: str, drawn: int, gain: float | None, *, judged: bool) -> Iterator[str]:
    """Yield that the verdict came before the last look, and the figures over all responses."""
    at, every = plural(decision.replicates[1], "réponse"), plural(drawn, "réponse")
    if not judged:
        yield (
            f"Ces chiffres de {name} portent sur {at} par prompt, les moyennes du rapport sur {every} par prompt, où "
            f"le gain vu est de {percent(gain, signed=True)}."
        )
        return
    bias = "" if decision.verdict == "INCONCLUSIVE" else f" ; {_bias(decision)}"
    yield (
        f"Le verdict de {name} a été rendu à {at} par prompt, et il tient{bias}. Le tirage a continué pour un autre "
        f"adaptateur : les moyennes du rapport portent sur {every} par prompt, où le gain vu est de "
        f"{percent(gain, signed=True)}."
    )


def _stop(decision: Decision, plan: GatePlan, *, judged: bool) -> Iterator[str]:
    """Yield that generation stopped at an early look, and the bias of the gain there."""
    high, most = decision.replicates[1], plan.looks[-1]
    if high in plan.looks[:-1] and decision.ground == "test" and judged:
        if decision.verdict == "INCONCLUSIVE":
            yield f"Le tirage s’est arrêté à {high} réponses sur {most} : un autre seuil l’a décidé."
        else:
            stopped = f"Le tirage s’est arrêté à {high} réponses sur {most}, dès que le verdict était sûr"
            yield f"{stopped} ; {_bias(decision)}."


def _bias(decision: Decision) -> str:
    """Return how far to trust a gain that was large enough to stop at."""
    if decision.verdict == "FAIL":
        return "le gain vu alors est trop bas en moyenne, et le haut de l’intervalle est sûr"
    return "le gain vu alors est trop haut en moyenne, et le bas de l’intervalle est sûr"


def _finding(decision: Decision, plan: GatePlan) -> str:
    bar, error = bar_percent(decision.min_gain), percent(plan.alpha, 0)
    if decision.ground == "nothing_to_compare":
        return "Les deux bras sont à 0 : il n’y a rien à comparer."
    if decision.ground == "out_of_reach":
        return f"La base est déjà si haute qu’un gain de {bar} dépasserait le score maximal de 1."
    if decision.ground == "no_variance":
        return "Une seule réponse d’un seul prompt ne dit rien du bruit : rien ne peut être prouvé."
    where = "ces prompts" if decision.target == "these" else "de nouveaux prompts du même genre"
    seen = _seen(decision)
    if decision.verdict == "PASS":
        return f"{seen} Sur {where}, le vrai gain est d’au moins {bar}, avec un risque d’erreur d’au plus {error}."
    if decision.verdict == "FAIL":
        return f"{seen} Sur {where}, le vrai gain est sous {bar}, avec un risque d’erreur d’au plus {error}."
    return f"{seen} Sur {where}, un vrai gain de {bar} n’est ni prouvé ni écarté : l’intervalle va des deux côtés."


def _seen(decision: Decision) -> str:
    interval, level = decision.judged_interval, percent(1 - 2 * decision.alpha, 1)
    if interval is not None and decision.gain is not None:
        return f"Gain vu : {percent(decision.gain, signed=True)}, intervalle à {level} {gain_interval(interval)}."
    ends = bracket(decision.judged_absolute, signed)
    return f"Gain absolu vu : {signed(decision.absolute_gain)}, intervalle à {level} {ends}."


_MOST_NAMES: Final = 12
_MOST_PLACES: Final = 5
_LONGEST_TEXT: Final = 90


def contamination_notes(report: Report) -> list[str]:
    """Return the prompts found in training data and the verdict without them; empty without training data."""
    found = report.contamination
    if found is None:
        return []
    return [" ".join(typeset(sentence) for sentence in (_counted(found), *_without(report, found)))]


def _counted(found: Contamination) -> str:
    files = ", ".join(printable(file) for file in found.files)
    if not found.leaks:
        return f"Données d’entraînement ({files}) : aucun des {plural(found.prompts, 'prompt')} n’y est."
    names = ", ".join(list(found.leaks)[:_MOST_NAMES])
    more = "…" if len(found.leaks) > _MOST_NAMES else ""
    verb = "sont" if len(found.leaks) > 1 else "est"
    many = f"{plural(len(found.leaks), 'prompt')} sur {count_of(found.prompts)} {verb}"
    return f"Contamination : {many} dans les données d’entraînement ({files}) : {names}{more}."


def _without(report: Report, found: JudgedContamination) -> Iterator[str]:
    """Yield the verdict of each adapter without the prompts found; the exit status keeps them."""
    if not found.leaks or report.noise_floor:
        return
    them = "Sans eux" if len(found.leaks) > 1 else "Sans lui"
    if not found.decisions:
        yield f"{them}, aucun verdict : il ne reste rien à comparer."
        return
    plan = report.metadata.plan
    several = len(report.metadata.adapters) > 1
    for name, decision in found.decisions.items():
        named = f", {printable(name)}" if several else ""
        sentence = verdict_line(decision, plan.looks[-1], plan.alpha, judged=is_judged(report))
        yield f"{them}{named} : {sentence}."
    yield "Le code de sortie reste celui de tous les prompts."


def leak_lines(found: Contamination, texts: Mapping[str, str]) -> list[str]:
    """Return each prompt found with its places, then a count; `texts` are the prompts by id."""
    lines: list[str] = []
    for prompt_id, leaks in found.leaks.items():
        places = plural(found.counts[prompt_id], "fois", "fois")
        lines.append(typeset(f"✗ {prompt_id} « {printable(texts[prompt_id])} » : {places}"))
        for leak in leaks[:_MOST_PLACES]:
            how = table("explanations.kinds")[leak.kind] + (
                "" if leak.similarity == 1 else f", {percent(leak.similarity, 0)}"
            )
            text = printable(leak.text)
            shown = text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
            lines.append(f"    {printable(leak.file)}:{leak.line}: {typeset(f'{how} : « {shown} »')}")
        left = found.counts[prompt_id] - min(len(leaks), _MOST_PLACES)
        if left:
            lines.append(f"    … et {count_of(left)} de plus")
    looked = f"{plural(found.texts, 'texte')} d’entraînement"
    if not found.leaks:
        return [typeset(f"✓ Aucun des {plural(found.prompts, 'prompt')} n’est dans {looked}.")]
    verb = "sont" if len(found.leaks) > 1 else "est"
    counted = f"{plural(len(found.leaks), 'prompt')} sur {count_of(found.prompts)} {verb} dans {looked}."
    return [*lines, typeset(counted)]


BESIDE_VERDICT: Final = frozenset({"adapter_of_other_base", "adapter_template", "adapter_tokenizer"})
"""Notes of an engine that may be why a verdict is what it is."""


def run_notes(report: Report) -> list[str]:
    """Return the notes on how the responses came about: replayed, with tools to call, on a doubtful pair."""
    notes = replay_notes(report)
    notes += [french_note(note) for note in report.provenance.engine.notes if note.code in BESIDE_VERDICT]
    if offers_tools(report):
        notes.append(word("routing.tools_offered"))
        if report.metadata.is_demo:
            notes.append(word("routing.demo_untaught"))
    return notes


def chosen_name(key: str) -> str:
    """Return the name of a tool in the matrix, or of the lack of one."""
    return table("routing.names").get(key, key)


def short_name(key: str) -> str:
    """Return the same without the common ending of tools, for the heads of columns."""
    return chosen_name(key).removesuffix("_tool")


def outcome(routing: Routing) -> str:
    """Return the choice of one response: « argument faux : minutes (set_timer_tool) »."""
    sentence = table("routing.reasons")[routing.reason]
    detail = routing.argument or (table("routing.problems")[routing.problem] if routing.problem else None)
    if detail:
        sentence = f"{sentence} : {detail}"
    return typeset(f"{sentence} ({routing.tool})" if routing.tool else sentence)
