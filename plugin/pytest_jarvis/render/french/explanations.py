"""What a verdict rests on, cautions (contamination among them) and advice."""

from collections.abc import Iterator, Mapping
from typing import Final

from pytest_jarvis.files import shorten
from pytest_jarvis.inputs.contamination import Contamination
from pytest_jarvis.metrics.tool_choice import Routing
from pytest_jarvis.render.french.formats import bar_percent, bracket, gain_interval, percent, printable, signed, typeset
from pytest_jarvis.render.french.labels import span
from pytest_jarvis.render.french.metrics import figure, find_spec, short_label
from pytest_jarvis.render.french.notes import french_note
from pytest_jarvis.render.french.saved_runs import replay_notes
from pytest_jarvis.render.french.verdicts import early_look, is_judged, look_suffix, verdict_line
from pytest_jarvis.render.french.words import fill, table, word
from pytest_jarvis.report.analysis.advice import Advice, DiagnosticWarning, WeakestCategory
from pytest_jarvis.report.analysis.insights import offers_tools
from pytest_jarvis.report.schema import JudgedContamination, Report
from pytest_jarvis.stats.decision import Caution, Decision
from pytest_jarvis.types import GatePlan


def advice_of(report: Report, name: str, advice: Advice) -> str:
    """Return the advice on an adapter of a report in one line."""
    return advice_line(advice, judged=is_judged(report), early=early_look(report, report.decisions.get(name)))


def advice_line(advice: Advice, *, judged: bool = True, early: int = 0) -> str:
    """Return the level of the gain seen, and whether it is proven if the run is judged; `early` is `early_look`."""
    proven = table("explanations.proven")
    seen = word("explanations.seen_gain", gain=advice.gain, look=look_suffix(early))
    return word(
        "explanations.advice_line",
        level=table("explanations.advice")[advice.code],
        gain=word("explanations.no_bound") if advice.gain is None else seen,
        proof=proven.get(f"{advice.code} {advice.proven_code}", proven[advice.code])
        if judged
        else word("explanations.no_proof"),
    )


def caution_sentence(caution: Caution) -> str:
    return fill(table("explanations.cautions")[caution.code], caution.values)


def warning_sentence(warning: DiagnosticWarning) -> str:
    return fill(table("explanations.warnings")[warning.code], warning.values)


def weakest_sentence(weakest: WeakestCategory, label: str) -> str:
    spec = find_spec(weakest.metric)
    return word(
        "explanations.weakest",
        category=label,
        metric=short_label(spec),
        mean=figure(weakest.estimate.mean, unit=spec.unit),
        others=figure(weakest.others_mean, unit=spec.unit),
        why=word("explanations.weakest_shown") if weakest.shown else word("explanations.weakest_noise"),
    )


def settle_sentence(responses: int) -> str:
    how = word("explanations.more_looks") if responses <= 64 else f"--jarvis-samples {responses}"
    return word("explanations.settle", responses=responses, how=how)


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
    high, bias = decision.replicates[1], table("explanations.biases").get(decision.verdict, "")
    sentences = [*_explanation(decision, plan, name, judged=judged)]
    if later is not None:
        values = {"name": name, "at": high, "every": later[0], "gain": later[1], "bias": bias and f" ; {bias}"}
        sentences.append(
            word("explanations.early", **values) if judged else word("explanations.early_not_judged", **values)
        )
    elif high in plan.looks[:-1] and decision.ground == "test" and judged:
        values = {"at": high, "most": plan.looks[-1], "bias": bias}
        sentences.append(
            word("explanations.stopped", **values) if bias else word("explanations.stopped_by_other", **values)
        )
    return [*sentences, *map(caution_sentence, decision.cautions)]


def _explanation(decision: Decision, plan: GatePlan, name: str, *, judged: bool) -> Iterator[str]:
    low, high = decision.replicates
    yield word(
        "explanations.means",
        prompts=decision.prompts,
        each=span(low, high),
        high=high,
        base=decision.base_mean,
        finetuned=decision.finetuned_mean,
        name=name,
    )
    yield _finding(decision, plan) if judged else word("explanations.seen_not_judged", seen=_seen(decision))
    if decision.responses_to_settle is not None:
        yield settle_sentence(decision.responses_to_settle)
    if decision.prompts_to_settle is not None:
        yield word("explanations.settle_by_prompts", prompts=decision.prompts_to_settle)
    if decision.verdict_new is not None and decision.target == "these" and judged:
        yield word(
            "explanations.of_new_prompts",
            interval=gain_interval(decision.gain_new),
            bar=bar_percent(decision.min_gain),
            shown=table("explanations.new_prompts")[decision.verdict_new],
        )
    if decision.detectable_gain is not None and decision.ground == "test":
        yield word("explanations.detectable", gain=decision.detectable_gain)
    if decision.decoding_share is not None:
        yield word("explanations.noise", decoding=decision.decoding_share, prompts=1 - decision.decoding_share)


def _finding(decision: Decision, plan: GatePlan) -> str:
    bar, grounds = bar_percent(decision.min_gain), table("explanations.grounds")
    if decision.ground in grounds:
        return fill(grounds[decision.ground], {"bar": bar})
    values = {
        "seen": _seen(decision),
        "where": table("explanations.targets")[decision.target],
        "bar": bar,
        "error": plan.alpha,
    }
    return fill(table("explanations.findings")[decision.verdict], values)


def _seen(decision: Decision) -> str:
    interval, level = decision.judged_interval, 1 - 2 * decision.alpha
    if interval is not None and decision.gain is not None:
        return word("explanations.gain_seen", gain=decision.gain, interval=gain_interval(interval), level=level)
    absolute = bracket(decision.judged_absolute, signed)
    return word("explanations.absolute_seen", gain=decision.absolute_gain, interval=absolute, level=level)


_MOST_NAMES: Final = 12
_MOST_PLACES: Final = 5
_LONGEST_TEXT: Final = 90


def contamination_notes(report: Report) -> list[str]:
    """Return the prompts found in training data and the verdict without them; empty without training data."""
    found = report.contamination
    return [] if found is None else [" ".join((_counted(found), *_without(report, found)))]


def _counted(found: Contamination) -> str:
    more = "…" if len(found.leaks) > _MOST_NAMES else ""
    return word(
        "contamination.found" if found.leaks else "contamination.none",
        files=", ".join(found.files),
        prompts=found.prompts,
        leaks=len(found.leaks),
        names=f"{', '.join(list(found.leaks)[:_MOST_NAMES])}{more}",
    )


def _without(report: Report, found: JudgedContamination) -> Iterator[str]:
    """Yield the verdict of each adapter without the prompts found; the exit status keeps them."""
    if not found.leaks or report.noise_floor:
        return
    leaks, plan = len(found.leaks), report.metadata.plan
    if not found.decisions:
        yield word("contamination.nothing_left", leaks=leaks)
        return
    several = len(report.metadata.adapters) > 1
    for name, decision in found.decisions.items():
        sentence = verdict_line(decision, plan.looks[-1], plan.alpha, judged=is_judged(report))
        yield word("contamination.without", leaks=leaks, named=f", {name}" if several else "", verdict=sentence)
    yield word("contamination.exit_status")


def leak_lines(found: Contamination, texts: Mapping[str, str]) -> list[str]:
    """Return each prompt found with its places, then a count; `texts` are the prompts by id."""
    lines: list[str] = []
    for prompt_id, leaks in found.leaks.items():
        count = found.counts[prompt_id]
        lines.append(word("contamination.prompt", name=prompt_id, text=texts[prompt_id], count=count))
        for leak in leaks[:_MOST_PLACES]:
            how = table("explanations.kinds")[leak.kind] + (
                "" if leak.similarity == 1 else f", {percent(leak.similarity, 0)}"
            )
            text = word("contamination.place", how=how, text=shorten(printable(leak.text), _LONGEST_TEXT))
            lines.append(f"    {printable(leak.file)}:{leak.line}: {text}")
        if left := count - min(len(leaks), _MOST_PLACES):
            lines.append(f"    {word('contamination.more', count=left)}")
    end = "contamination.all" if found.leaks else "contamination.clean"
    return [*lines, word(end, leaks=len(found.leaks), prompts=found.prompts, texts=found.texts)]


BESIDE_VERDICT: Final = frozenset(
    {"adapter_of_other_base", "adapter_template", "adapter_tokenizer", "quantized_twice", "dequantized_gguf"}
)
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
