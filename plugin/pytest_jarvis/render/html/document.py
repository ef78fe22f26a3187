"""`report.html`: one static file that asks nothing of any network and lets nothing that a model wrote become markup."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from html import escape, unescape
from importlib import resources
from typing import Final

from pytest_jarvis.render.french import page as wording
from pytest_jarvis.render.html import summary, tables
from pytest_jarvis.render.html.changes import changes
from pytest_jarvis.render.html.choices import choices
from pytest_jarvis.render.html.markup import Html, element, join, text
from pytest_jarvis.render.html.payload import encode_payload
from pytest_jarvis.render.html.provenance import provenance
from pytest_jarvis.render.html.regression import regression
from pytest_jarvis.render.html.toolbar import legend, toolbar
from pytest_jarvis.report.analysis.insights import Insights
from pytest_jarvis.report.analysis.tool_choice import offers_tools
from pytest_jarvis.report.schema import Report

_STYLES: Final = ("page.css", "matrix.css", "cases.css", "paper.css")
_SCRIPTS: Final = ("data.js", "text.js", "case.js", "list.js", "controls.js")
_PLACE: Final = re.compile("@([a-z_]+)@")
_STYLE: Final = re.compile(r'\sstyle="([^"]*)"')


def render_html(report: Report, insights: Insights, svgs: Mapping[str, str]) -> str:
    """Return the page of a report: the same for the same report. `svgs` are the charts, by name.

    Its content security policy allows its own style and script by their digests, and nothing else: no request leaves
    it, and no string becomes markup (trusted types).
    """
    style = "\n".join(map(_asset, _STYLES))
    script = f"(() => {{\n'use strict';\n{''.join(map(_asset, _SCRIPTS))}}})();"
    parts = {
        "policy": _policy(style, script),
        "title": text(f"{wording.TITLE} – {', '.join(report.metadata.adapters)}"),
        "style": style,
        "script": script,
        "data": encode_payload(report, insights),
        "skip": wording.SKIP_TO_CASES,
        "heading": summary.heading(report),
        "change_theme": wording.CHANGE_THEME,
        "navigation": wording.NAVIGATION,
        "links": _links(),
        "banners": summary.banners(report),
        "verdict": join(summary.verdict(report, insights), regression(report)),
        "key_numbers_title": wording.KEY_NUMBERS,
        "key_numbers": summary.key_numbers(report, insights),
        "variance": summary.variance(insights.adapters),
        "sections": join(
            _section("categories", tables.categories(report, insights)),
            _section("outils", choices(insights, offered=offers_tools(report))),
            _section("graphiques", _charts(svgs)),
            _section("changements", changes(insights)),
            _section("reponses", tables.responses(insights)),
            _section("echecs", tables.failures(report, insights)),
        ),
        "cases_title": wording.SECTIONS["liste"],
        "no_script": wording.NO_SCRIPT,
        "toolbar": toolbar(report),
        "legend": legend(report),
        "no_case": wording.NO_CASE,
        "provenance": _section("provenance", provenance(report)),
    }
    return _PLACE.sub(lambda match: parts[match[1]], _asset("template.html"))


def _asset(name: str) -> str:
    """Return a file of the page as it stands in the package."""
    return resources.files("pytest_jarvis.render.html").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Return the content security policy of a page with this style and this script."""
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


def _links() -> Html:
    return join(*(element("a", title, href=f"#{anchor}") for anchor, title in wording.SECTIONS.items()))


def _section(anchor: str, content: Html) -> Html:
    title = element("h2", wording.SECTIONS[anchor], id=f"{anchor}-titre")
    return element("section", title, content, id=anchor, aria_labelledby=f"{anchor}-titre")


def _charts(svgs: Mapping[str, str]) -> Html:
    """Return the charts as they were drawn, in the colours of the page."""
    if not svgs:
        return element("p", wording.NO_CHART, class_="empty")
    figures = (element("figure", Html(_STYLE.sub(_as_attributes, svg))) for svg in svgs.values())
    return element("div", *figures, class_="charts")


def _as_attributes(style: re.Match[str]) -> str:
    """Return a style attribute, which the policy forbids, as the attributes of SVG that say the same."""
    pairs = (one.partition(":") for one in unescape(style[1]).split(";") if one.strip())
    return "".join(f' {name.strip()}="{escape(value.strip())}"' for name, _, value in pairs)
