"""The top of the page: what it is, the banners, the verdict with its intervals, the key numbers, the noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_jarvis.render.french import (
    NBSP,
    NOTHING_DECIDED,
    adapters_sentence,
    at_look,
    early_look,
    gain_of_all,
    gate_sentence,
    number,
    percent,
    reason_sentences,
    signed,
)
from pytest_jarvis.render.french import page as wording
from pytest_jarvis.render.french.contamination import contamination_notes
from pytest_jarvis.render.french.explanations import ADVICE, advice_of, explain_report
from pytest_jarvis.render.french.labels import (
    FAKE_ENGINE,
    GATE_SHORT,
    INCOMPLETE,
    NOTHING_MEASURED,
    PARTIAL,
    device,
    quantised,
)
from pytest_jarvis.render.french.routing import TITLE as ROUTING
from pytest_jarvis.render.french.routing import run_notes
from pytest_jarvis.render.html.intervals import draw_intervals
from pytest_jarvis.render.html.markup import Html, arm_class, element, foreign, join, listed
from pytest_jarvis.render.html.tables import duration, table, thresholds
from pytest_jarvis.report.analysis.insights import AdapterInsight, Insights, VarianceSplit
from pytest_jarvis.report.schema import Averages, Report

_ARROW = " → "
_MOST_PROOFS = 12
"""Adapters whose advice stands in the banner."""


def heading(report: Report) -> Html:
    """Return the title: what was compared, where and when."""
    metadata = report.metadata
    facts = [
        foreign(metadata.base_model_label),
        *(foreign(part) for part in (quantised(metadata.quantization), device(metadata.device)) if part),
    ]
    facts.append(
        element("time", metadata.timestamp.replace("T", " ").replace("+00:00", " UTC"), datetime=metadata.timestamp)
    )
    names = [
        element("span", foreign(name), class_=f"tuned-name {arm_class(place)}")
        for place, name in enumerate(metadata.adapters)
    ]
    return join(
        element("p", wording.TITLE, class_="eyebrow"),
        element("h1", listed(names), " ", element("span", wording.AGAINST_BASE, class_="against")),
        element("p", listed((element("span", fact) for fact in facts if fact), " "), class_="facts"),
    )


def banners(report: Report) -> Html:
    """Return what a reader must know before any number."""
    said = []
    if not report.metadata.is_real:
        said.append(FAKE_ENGINE)
    if report.metadata.is_demo:
        said.append(wording.DEMO_MODEL + wording.DEMO_MEANING)
    if not report.metadata.full_selection:
        said.append(PARTIAL)
    if not report.complete:
        said.append(INCOMPLETE)
    said += [*run_notes(report), *contamination_notes(report)]
    return join(*(element("p", sentence, class_="notice warn", role="note") for sentence in said))


def verdict(report: Report, insights: Insights) -> Html:
    """Return the verdict: the advice, the gate's sentence and reasons, the intervals, what the measure says.

    Of several adapters the headline is the run's own verdict, and each adapter's advice follows by its name.
    """
    gate, candidate = report.gate, insights.candidate
    several = len(insights.adapters) > 1
    headline = ADVICE[candidate.advice.code] if candidate.advice else _nothing(candidate)
    if several and any(one.advice for one in insights.adapters):
        headline = GATE_SHORT[gate.verdict]
    adapters = adapters_sentence(gate, report.metadata.plan.require)
    figure = draw_intervals(insights.adapters, report.metadata.plan.min_gain, notes=_early(report, insights))
    labels = {name: item.label for name, item in report.by_category.items()}
    return join(
        element(
            "div",
            element("p", gate_sentence(gate, report.metadata.plan.min_gain), class_="gate"),
            element("h2", listed((element("span", word) for word in headline.split()), " "), id="verdict-titre"),
            element("p", adapters, class_="reason") if adapters else None,
            *(_proof(report, one, named=several) for one in insights.adapters[:_MOST_PROOFS]),
            *(element("p", reason, class_="reason") for reason in reason_sentences(gate)),
            class_=f"banner {gate.verdict.lower()}",
        ),
        figure or element("p", wording.NO_DECISION, class_="notice"),
        element(
            "details",
            element("summary", wording.EXPLANATION),
            *(part for one in insights.adapters for part in _explained(one, report, named=several)),
            element("h3", wording.THRESHOLDS),
            thresholds(report, labels),
            class_="explained",
        ),
    )


def _early(report: Report, insights: Insights) -> dict[str, str]:
    """Return what a reader must know of the interval of an adapter whose verdict was given early."""
    return {
        one.name: f"{at_look(early).strip()} ; {gain_of_all(report, one.name)}"
        for one in insights.adapters
        if (early := early_look(report, one.decision))
    }


def _nothing(one: AdapterInsight) -> str:
    """Return why there is nothing to say of a gain."""
    return NOTHING_DECIDED if one.changes else NOTHING_MEASURED


def _proof(report: Report, one: AdapterInsight, *, named: bool) -> Html | None:
    """Return what the advice says after its headline; all of it where the headline is not the adapter's."""
    if one.advice is None:
        return None
    said = advice_of(report, one.name, one.advice)
    if named:
        return element("p", element("strong", foreign(one.name)), f"{NBSP}: {said}", class_="proof")
    said = said.removeprefix(ADVICE[one.advice.code]).lstrip(f"{NBSP}: ")
    return element("p", said[:1].upper() + said[1:], class_="proof")


def _explained(one: AdapterInsight, report: Report, *, named: bool) -> Iterator[Html]:
    if named:
        yield element("h3", foreign(one.name))
    if one.advice is not None and named:
        yield element("p", advice_of(report, one.name, one.advice))
    if one.decision is None:
        yield element("p", _nothing(one))
        return
    yield element("ul", *(element("li", sentence) for sentence in explain_report(report, one.name)))


def key_numbers(report: Report, insights: Insights) -> Html:
    """Return the numbers that are read first, as tiles; of several adapters as a table with a row for each."""
    return _numbers_of_several(report, insights) if len(insights.adapters) > 1 else _tiles(report, insights)


def _numbers_of_several(report: Report, insights: Insights) -> Html:
    drawn, random = report.metadata.samples_per_prompt, report.provenance.mismatched_cosine
    judged = any(one.averages.avg_tool_routing_base is not None for one in insights.adapters)
    rows = []
    for one in insights.adapters:
        averages = one.averages
        chosen = (averages.avg_tool_routing_base, averages.avg_tool_routing_finetuned)
        rows.append(
            [
                foreign(one.name),
                _both(averages.avg_relevance_base, averages.avg_relevance_finetuned, 3),
                percent(averages.relevance_gain, signed=True),
                _shares(averages.avg_keyword_match_base, averages.avg_keyword_match_finetuned),
                *([_shares(*chosen)] if judged else []),
                number(averages.avg_cosine_similarity),
                duration(averages),
                _counted(averages),
            ]
        )
    heads = [head for head in wording.KEY_HEADS if judged or head != ROUTING]
    notes = [
        wording.responses_each(drawn, drawn),
        *([wording.against_random(number(random), insights.candidate.name)] if random is not None else []),
        wording.failed_of_planned(len(report.failures), insights.responses_planned),
    ]
    return join(table(heads, rows), element("p", listed(notes, " · "), class_="note"))


def _shares(before: float | None, after: float | None) -> str:
    return _ARROW.join(percent(value, 0) for value in (before, after))


def _tiles(report: Report, insights: Insights) -> Html:
    averages = report.statistics
    candidate = insights.candidate
    drawn = report.metadata.samples_per_prompt
    early = early_look(report, candidate.decision)
    low, high = candidate.decision.replicates if candidate.decision and not early else (0, drawn)
    each = wording.responses_each(low or high, high)
    random = report.provenance.mismatched_cosine
    tiles = [
        _tile(
            wording.RELEVANCE,
            _both(averages.avg_relevance_base, averages.avg_relevance_finetuned, 3),
            _gain(averages, candidate, gains=not report.noise_floor),
        ),
        _tile(
            wording.KEYWORDS,
            _shares(averages.avg_keyword_match_base, averages.avg_keyword_match_finetuned),
        ),
        _tile(
            wording.COSINE,
            number(averages.avg_cosine_similarity),
            wording.COSINE_MEANING if random is None else wording.against_random(number(random)),
        ),
        _tile(wording.DURATION, duration(averages)),
        _tile(wording.MEASURED, _counted(averages), each),
        _tile(wording.FAILED, str(len(report.failures)), wording.of_planned(insights.responses_planned)),
    ]
    return element("dl", *tiles, class_="tiles")


def _tile(label: str, value: str, note: str | None = None) -> Html:
    return element(
        "div", element("dt", label), element("dd", value), element("dd", note, class_="note") if note else None
    )


def _gain(averages: Averages, candidate: AdapterInsight, *, gains: bool) -> str:
    """Return what is seen between the two means: a gain, or in an A/A run a difference."""
    if gains or candidate.relevance is None:
        return percent(averages.relevance_gain, signed=True)
    return f"{wording.CHANGE.lower()} {signed(candidate.relevance.change.difference)}"


def _both(before: float | None, after: float | None, digits: int) -> str:
    return f"{number(before, digits)}{_ARROW}{number(after, digits)}"


def _counted(averages: Averages) -> str:
    return f"{averages.total_tests}/{averages.planned_tests}"


def variance(adapters: Sequence[AdapterInsight]) -> Html:
    """Return where the noise of each adapter's gain comes from, as one bar in two parts."""
    split = [(one.name, one.variance) for one in adapters if one.variance is not None]
    if not split:
        return join(element("h3", wording.VARIANCE), element("p", wording.NO_VARIANCE, class_="note"))
    bars = [_split(found, foreign(name) if len(adapters) > 1 else None) for name, found in split]
    return join(element("h3", wording.VARIANCE), *bars, element("p", wording.VARIANCE_MEANING, class_="note"))


def _split(split: VarianceSplit, name: Html | None) -> Html:
    decoding = f"{split.decoding_share * 100:.3f}%"
    rest = f"{split.prompts_share * 100:.3f}%"
    return join(
        element("p", element("strong", name), class_="whose") if name else None,
        element(
            "svg",
            element("rect", class_="decoding", x="0", y="0", width=decoding, height="18"),
            element("rect", class_="between", x=decoding, y="0", width=rest, height="18"),
            class_="split",
            height="18",
            aria_hidden="true",
        ),
        element(
            "p",
            element(
                "span",
                element("span", class_="swatch decoding"),
                f"{wording.DECODING} {percent(split.decoding_share, 0)}",
            ),
            " ",
            element(
                "span", element("span", class_="swatch between"), f"{wording.PROMPTS} {percent(split.prompts_share, 0)}"
            ),
            class_="key",
        ),
    )
