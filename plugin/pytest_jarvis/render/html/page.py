"""`report.html`: one static file that makes no request and lets nothing a model wrote become markup."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from html import escape, unescape
from importlib import resources
from typing import TYPE_CHECKING, Final

from pytest_jarvis.metrics.registry import COSINE, RELEVANCE, list_specs
from pytest_jarvis.render import Incomplete
from pytest_jarvis.render.blocks import ARROW, prompt_count, with_name
from pytest_jarvis.render.french import labels
from pytest_jarvis.render.french.explanations import advice_of, warning_sentence
from pytest_jarvis.render.french.formats import NBSP, percent, seconds, signed
from pytest_jarvis.render.french.metrics import label_of, short_means, specs_by_name, verdict_sentences
from pytest_jarvis.render.french.verdicts import adapters_sentence, early_look, gain_of_all, gate_sentence, look_suffix
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.render.html.figures import interval_figure, matrices, span_ends
from pytest_jarvis.render.html.payload import encode_payload
from pytest_jarvis.render.sections import cautions, sections
from pytest_jarvis.report.analysis.insights import Insights
from pytest_jarvis.report.schema import Report

if TYPE_CHECKING:
    from jinja2 import Environment

_STYLES: Final = ("page.css", "matrix.css", "cases.css", "paper.css")
_SCRIPTS: Final = ("data.js", "text.js", "case.js", "list.js", "controls.js")
_STYLE: Final = re.compile(r'\sstyle="([^"]*)"')
_MOST_PROOFS: Final = 12  # Adapters whose advice stands in the banner.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of invisible characters: controls, directions, lone surrogates, line separators."""
_JOINER: Final = "\u200d"


def render_page(report: Report, insights: Insights) -> str | Incomplete:
    """Return the page with its charts, or without them where they cannot be drawn."""
    from pytest_jarvis.render.charts import chart_svgs

    try:
        svgs = chart_svgs(report, insights)
    except Exception as error:  # noqa: BLE001  # no picture may cost the page
        return Incomplete(render_html(report, insights, {}), word("labels.charts_of_page"), error)
    return render_html(report, insights, svgs)


def render_html(report: Report, insights: Insights, svgs: Mapping[str, str]) -> str:
    """Return the page of a report, the same for the same report; `svgs` are the charts by name.

    Its content security policy allows its own style and script by digest and nothing else: no request leaves the page,
    and no string becomes markup (trusted types).
    """
    style = "\n".join(map(_asset, _STYLES))
    script = f"(() => {{\n'use strict';\n{''.join(map(_asset, _SCRIPTS))}}})();"
    several = len(insights.adapters) > 1
    return (
        _environment()
        .get_template("page.html")
        .render(
            words=labels,
            report=report,
            insights=insights,
            several=several,
            policy=_policy(style, script),
            style=style,
            script=script,
            data=encode_payload(report, insights),
            facts=_heading(report),
            banners=_banners(report),
            sections={one.key: one for one in sections(report, insights)},
            gate=gate_sentence(report.gate, report.metadata.plan),
            headline=_headline(report, insights),
            whose=adapters_sentence(report.gate, report.metadata.plan.require),
            advice=[
                (one.name if several else "", _advice(advice_of(report, one.name, one.advice), named=several))
                for one in insights.adapters[:_MOST_PROOFS]
                if one.advice
            ],
            key_figures=[]
            if several or not report.statistics.figures
            else [tile[:2] for tile in _tiles(report, insights)[:3]],
            reasons=verdict_sentences(report.gate, report.metrics),
            doubts=[
                with_name(insights, one.name, warning_sentence(warning))
                for one in insights.adapters
                for warning in one.warnings
            ],
            figure=interval_figure(insights.adapters, report.metadata.plan.min_gain, notes=_early(report, insights)),
            tiles=[] if several else _tiles(report, insights),
            matrices=[
                matrices(one.routing, word("page.base"), one.name, word("routing.matrix"))
                for one in insights.adapters
                if one.routing
            ],
            charts=[_STYLE.sub(_as_attributes, svg) for svg in svgs.values()],
            sorts=_sorts(report),
            tuned=labels.tuned_arm(report),
        )
    )


@cache
def _environment() -> Environment:
    """Return the template environment: all text is escaped, invisible characters are shown by number."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def safe(value: object) -> object:
        return Markup(to_markup(value)) if type(value) is not Markup and isinstance(value, str) else value  # noqa: S704  # shown escapes

    def attribute(value: object) -> str:
        return Markup(escape(to_attribute(str(value))))  # noqa: S704  # escaped

    environment = Environment(
        loader=PackageLoader("pytest_jarvis.render.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=safe,
    )
    environment.filters.update(attr=attribute, kind=lambda block: type(block).__name__, percent=percent, ends=span_ends)
    environment.globals.update(word=word, table=table)
    return environment


def to_markup(text: str) -> str:
    """Return a text as markup: escaped, invisible characters as numbers."""
    if text.isprintable():
        return escape(text)
    return "".join(
        # Without quotes, so that it cannot end an attribute.
        f"<span class=hidden-char>{code_point(char)}</span>"
        if is_hidden(char) and not _joins_pictures(text, place)
        else escape(char)
        for place, char in enumerate(text)
    )


def to_attribute(text: str) -> str:
    """Return a text for an attribute, invisible characters as numbers."""
    return "".join(f"[{code_point(char)}]" if is_hidden(char) else char for char in text)


def is_hidden(char: str) -> bool:
    """Whether a character is invisible or turns others around; line ends are not."""
    return char not in "\n\t" and unicodedata.category(char) in _HIDDEN


def code_point(char: str) -> str:
    """Return the number of a character as Unicode writes it: « U+202E »."""
    return f"U+{ord(char):04X}"


def _joins_pictures(text: str, place: int) -> bool:
    """Whether a zero-width joiner is between two pictures, as in emoji of families and professions."""
    if text[place] != _JOINER or not 0 < place < len(text) - 1:
        return False
    return all(unicodedata.category(char) in {"So", "Sk", "Mn"} for char in (text[place - 1], text[place + 1]))


def _asset(name: str) -> str:
    return resources.files("pytest_jarvis.render.html").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    rules = (
        "default-src 'none'",
        f"style-src '{_digest(style)}'",
        f"script-src '{_digest(script)}'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return "; ".join(rules)


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _as_attributes(style: re.Match[str]) -> str:
    """Return a style attribute, which the policy forbids, as presentation attributes of SVG."""
    pairs = (one.partition(":") for one in unescape(style[1]).split(";") if one.strip())
    return "".join(f' {name.strip()}="{escape(value.strip())}"' for name, _, value in pairs)


def _heading(report: Report) -> list[str]:
    metadata, model = report.metadata, labels.model_label(report.provenance.engine)
    return list(filter(None, (model, labels.storage(metadata.quantization, ""), labels.device(metadata.device))))


def _banners(report: Report) -> list[str]:
    demo = [word("page.demo_model") + word("page.demo_meaning")] if report.metadata.is_demo else []
    return [*demo, *cautions(report)]


def _headline(report: Report, insights: Insights) -> str:
    candidate = insights.candidate
    if len(insights.adapters) > 1 and any(one.advice for one in insights.adapters):
        return table("labels.gate_short")[report.gate.verdict]
    if candidate.advice:
        return table("explanations.advice")[candidate.advice.code]
    if candidate.decision is not None:
        return table("labels.gate_short")[report.gate.verdict]
    return word("verdicts.nothing_decided") if candidate.changes else word("labels.nothing_measured")


def _advice(sentence: str, *, named: bool) -> str:
    if named:
        return sentence
    after = sentence.partition(f"{NBSP}: ")[2]
    return after[:1].upper() + after[1:]


def _early(report: Report, insights: Insights) -> dict[str, str]:
    return {
        one.name: f"{look_suffix(early).strip()} ; {gain_of_all(report, one.name)}"
        for one in insights.adapters
        if (early := early_look(report, one.decision))
    }


def _tiles(report: Report, insights: Insights) -> list[tuple[str, str, str]]:
    averages, candidate = report.statistics, insights.candidate
    drawn = report.metadata.samples_per_prompt
    early = early_look(report, candidate.decision)
    low, high = candidate.decision.replicates if candidate.decision and not early else (0, drawn)
    random = report.provenance.mismatched_cosine
    notes = {
        RELEVANCE: percent(averages.relevance_gain, signed=True),
        COSINE: word("page.cosine_meaning") if random is None else word("page.against_random", cosine=random),
    }
    if report.noise_floor and (relevance := candidate.metrics.get(RELEVANCE)) is not None:
        notes[RELEVANCE] = f"{word('page.change').lower()} {signed(relevance.change.difference)}"
    duration = averages.figure("seconds")
    each = word("page.responses_each", each=labels.span(low or high, high), count=high)
    failed = word("page.failed_of", failed=len(report.failures), responses=insights.responses_planned)
    return [
        *(
            (label_of(spec), short_means(spec, averages.figure(spec.name)), notes.get(spec.name, ""))
            for spec in list_specs("column")
        ),
        (word("page.duration"), f"{seconds(duration.base)}{ARROW}{seconds(duration.finetuned)}", ""),
        (word("page.measured"), prompt_count(averages), f"{each} ; {failed}"),
    ]


def _sorts(report: Report) -> dict[str, str]:
    """Return the orders of the cases, by the script's names."""
    tuned = labels.tuned_arm(report)
    sorts = {name: label.format(tuned=tuned) for name, label in table("page.sorts").items()}
    for place, spec in enumerate(specs_by_name(report).values()):
        if spec.per == "pair":
            sorts[f"extra-{place}-tuned"] = label_of(spec)
        else:
            sorts[f"extra-{place}-change"] = word("page.extra_change").format(name=spec.label)
            sorts[f"extra-{place}-tuned"] = word("page.extra_tuned").format(name=spec.label, tuned=tuned)
    return sorts
