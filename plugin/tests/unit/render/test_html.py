"""`report.html` as text: nothing a model wrote is markup, nothing is fetched, and the same report is the same page."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib import resources

import msgspec
import pytest
from msgspec.structs import replace

from pytest_jarvis.render.blocks import case_anchor
from pytest_jarvis.render.html.figures import interval_figure
from pytest_jarvis.render.html.page import render_html, to_attribute, to_markup
from pytest_jarvis.report.analysis.insights import insights
from pytest_jarvis.report.schema import Report
from pytest_jarvis.types import Storage, text_note

HOSTILE = "</script><script>x</script><img src=x onerror=x> <!-- ]]> & \u2028\u2029\u202e\u2066\x00\x1b\ud800"
ASSETS = ("page.css", "cases.css", "paper.css", "data.js", "text.js", "case.js", "list.js", "controls.js")


class Reader(HTMLParser):
    """Keeps the elements of a page, their attributes, and what stands in scripts and styles."""

    def __init__(self, page: str) -> None:
        """Read the page."""
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.said = ""
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        """Leave it."""
        self._open = ""

    def handle_data(self, data: str) -> None:
        """Keep what is in it."""
        if self._open in self.inside:
            self.inside[self._open][-1] += data
        else:
            self.said += data

    def payload(self) -> dict[str, list[list[object]]]:
        """Return the page's data."""
        return json.loads(self.inside["script"][0])


def page_of(report: Report) -> str:
    """Return the page of a report, without charts."""
    return render_html(report, insights(report), {})


@pytest.fixture(scope="module")
def hostile(make_report) -> str:
    """Return the page of a report in which every text is hostile."""
    report = make_report(
        gains={"jarvis": 0.4, "faible": 0.0},
        text=HOSTILE,
        prompt_text=HOSTILE.replace("\ud800", ""),  # a file of prompts, which is UTF-8, holds none
        label=HOSTILE,
        reason=HOSTILE,
        failing=[(3, "jarvis")],
        prompts=3,
    )
    metadata = msgspec.structs.replace(
        report.metadata, device=HOSTILE, quantization=Storage(format="text", method=HOSTILE)
    )
    provenance = msgspec.structs.replace(report.provenance, versions={HOSTILE: HOSTILE}, notes=(text_note(HOSTILE),))
    engine = replace(provenance.engine, is_demo=False, display_name=HOSTILE)
    provenance = msgspec.structs.replace(provenance, engine=engine)
    return page_of(msgspec.structs.replace(report, metadata=metadata, provenance=provenance))


def test_no_text_of_a_report_becomes_markup(hostile) -> None:
    read = Reader(hostile)
    assert 2 == len(read.inside["script"])
    assert not {"img", "iframe", "object", "link", "base", "form"} & {tag for tag, _ in read.elements}
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]


def test_nothing_hidden_stands_in_the_page_or_in_an_attribute(hostile) -> None:
    read = Reader(hostile)
    values = [value for _, attributes in read.elements for value in attributes.values() if value]
    assert [value for value in values if "hidden-char" in value and value != "hidden-char"] == []
    assert not set("\u202e\u2066\x00\x1b") & set("".join([read.said, *values]))
    assert hostile.encode("utf-8")


def test_the_data_holds_the_hostile_texts_as_they_were_without_a_sign_that_could_end_it(hostile) -> None:
    assert HOSTILE in {row[2] for row in Reader(hostile).payload()["responses"]}
    assert not set("<>&\u2028\u2029") & set(Reader(hostile).inside["script"][0])


def test_the_same_report_is_the_same_page(make_report) -> None:
    report = make_report(gains={"v1": 0.4, "v2": 0.1}, failing=[(2, "v1")])
    assert page_of(report) == page_of(msgspec.convert(msgspec.to_builtins(report), Report))


def test_nothing_in_the_page_points_outside(make_report) -> None:
    page = page_of(make_report())
    assert {"http://www.w3.org/2000/svg"} == set(re.findall(r"https?://[^\s\"'<>)]+", page))
    pointing = [
        value
        for _, attributes in Reader(page).elements
        for name, value in attributes.items()
        if name in {"href", "src", "action"}
    ]
    assert all(value is not None and value.startswith("#") for value in pointing)


def test_the_policy_names_the_style_and_the_script_by_their_digests(make_report) -> None:
    read = Reader(page_of(make_report()))
    policy = next(attributes["content"] for _, attributes in read.elements if "http-equiv" in attributes)
    assert policy is not None
    for content in (read.inside["style"][0], read.inside["script"][1]):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_the_policy_forbids_style_attributes_so_there_is_none(make_report) -> None:
    report = make_report()
    chart = '<svg><path style="fill: none; stroke: #010203"/><text style="font-family: &quot;A&quot;">a</text></svg>'
    page = render_html(report, insights(report), {"relevance": chart})
    assert not [tag for tag, attributes in Reader(page).elements if "style" in attributes]
    assert '<path fill="none" stroke="#010203"/><text font-family="&quot;A&quot;">a</text>' in page


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param({"measured": False}, id="nothing measured"),
        pytest.param({"metrics": False}, id="metrics off"),
        pytest.param({"base_terms": 0.0, "gains": {"jarvis": 0.0}}, id="a base of 0"),
        pytest.param({"replicates": 1}, id="one response"),
        pytest.param({"replicates": 1, "prompts": 1, "categories": 1}, id="one prompt"),
        pytest.param({"categories": 8, "gains": {"a": 0.3, "b": 0.1, "c": 0.0, "d": -0.3}}, id="many of all"),
    ],
)
def test_a_report_with_little_or_much_has_a_page(make_report, recipe: dict[str, object]) -> None:
    page = page_of(make_report(**recipe))
    assert "nan" not in Reader(page).said.lower().split()
    assert "None" not in Reader(page).said


def test_a_response_that_several_adapters_are_compared_with_is_held_once(make_report) -> None:
    report = make_report(gains={"v1": 0.1, "v2": 0.2, "v3": 0.3}, prompts=2, categories=1, replicates=2)
    read = Reader(page_of(report)).payload()
    assert 6 == len(read["cases"])
    assert len(read["responses"]) <= 2 * 2 * 4


def test_a_case_has_a_link_of_its_own_for_each_adapter() -> None:
    assert "cas-tr-01" == case_anchor("tr-01", "v1", "v1")
    assert "cas-tr-01--v2" == case_anchor("tr-01", "v2", "v1")


def test_the_interval_and_the_bar_are_drawn_where_they_are(make_report) -> None:
    report = make_report()
    figure = page_of(report).partition('<figure class="intervals">')[2].partition("</figure>")[0]
    places = {
        kind: [float(value) for value in re.findall(rf'<line class="{kind}" x1="([\d.]+)%', figure)]
        for kind in ("zero", "bar", "end")
    }
    gain = report.decisions["jarvis"].gain_these
    assert gain is not None
    zero, bar, (low, high) = places["zero"][0], places["bar"][0], places["end"][:2]
    per_point = (bar - zero) / 0.05
    assert (low - zero) / per_point == pytest.approx(gain[0], abs=1e-3)
    assert (high - zero) / per_point == pytest.approx(gain[1], abs=1e-3)


def test_nothing_measured_has_no_interval_to_draw(make_report) -> None:
    assert interval_figure(insights(make_report(measured=False)).adapters, 0.05) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a < b & c", "a &lt; b &amp; c"),
        ("deux\nlignes\tet une\u00a0espace", "deux\nlignes\tet une\u00a0espace"),
        ("a\u202eb", "a<span class=hidden-char>U+202E</span>b"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("a\u200db", "a<span class=hidden-char>U+200D</span>b"),
        ("\u200d", "<span class=hidden-char>U+200D</span>"),
    ],
)
def test_a_text_is_escaped_and_what_is_hidden_in_it_is_shown(value: str, expected: str) -> None:
    assert expected == to_markup(value)


def test_an_attribute_shows_what_is_hidden_by_its_number() -> None:
    assert "a[U+202E]b" == to_attribute("a\u202eb")


@pytest.mark.parametrize("name", ASSETS)
def test_an_asset_is_in_the_package_and_cannot_end_its_element(name: str) -> None:
    content = resources.files("pytest_jarvis.render.html").joinpath(name).read_text(encoding="utf-8")
    assert "</" not in re.sub(r"^\s*(//|/\*).*$", "", content, flags=re.MULTILINE)
    assert len(content.splitlines()) <= 400
