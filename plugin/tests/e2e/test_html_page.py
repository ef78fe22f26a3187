"""`report.html` in a real Chromium: what a reader, a keyboard, a phone, a printer and a hostile model do to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_jarvis.insights import insights
from pytest_jarvis.outputs.html import render_html
from pytest_jarvis.report import Report
from pytest_jarvis.text import words

COUNT = "document.getElementById('count').textContent"
SHOWN = "[...document.querySelectorAll('.case')].map((one) => one.id)"
HOSTILE = (
    "<script>globalThis.owned = 1</script>",
    "</script><script>globalThis.owned = 2</script>",
    "<img src=x onerror='globalThis.owned = 3'>",
    "<!--<script> ]]> &lt;b&gt; {n} @data@",
    "le \u202enos\u202c \u2066est\u2069 \u200blà\u2028ici\u2029fin\x00\x1b[31m",
)


def write_page(folder: Path, report: Report) -> str:
    """Write the page of a report and return its address."""
    file = folder / "report.html"
    file.write_text(render_html(report, insights(report), {}), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="session")
def small(asked, write_report, tmp_path_factory) -> str:
    """Give the address of a page with one case of each kind."""
    cases = [
        asked(
            prompt_id="cv-01",
            category="commandes",
            text="ouvre l'éditeur",
            base=["Je ne sais pas."] * 4,
            tuned=["J'ouvre l'application, je lance le logiciel."] * 4,
            keywords=("ouvre",),
        ),
        asked(
            prompt_id="cv-02",
            category="commandes",
            text="prends une photo de l'écran",
            intended="capture d'écran",
            base=["Une capture de l'ÉCRAN, une image, une photo."] * 4,
            tuned=["Voilà."] * 4,
            keywords=("écran",),
            expected_tool="screenshot_tool",
        ),
        asked(prompt_id="tr-01", base=["J'augmente le son."] * 4, tuned=["J'augmente le son."] * 4),
        asked(prompt_id="tr-02", base=["Le son.", None, "Le son.", "Le son."], tuned=["Non."] + ["Le volume."] * 3),
        asked(prompt_id="tr-03", base=[None] * 4, tuned=["Le son", "", "Le volume", "Le son"]),
    ]
    report = write_report(cases, labels={"commandes": "Commandes", "tool_routing": "Choix de l'outil"})
    return write_page(tmp_path_factory.mktemp("small"), report)


@pytest.fixture(scope="session")
def large(asked, write_report, tmp_path_factory) -> str:
    """Give the address of a page with 3,000 prompts and 12,000 responses."""
    cases = [
        asked(
            prompt_id=f"p-{number:04}",
            text=f"monte le son de la pièce {number}",
            category=f"categorie-{number % 8}",
            base=[f"Réponse {number} et {other}, d'accord." for other in range(2)],
            tuned=[f"J'augmente le son de la pièce {number}, {other} fois." for other in range(2)],
        )
        for number in range(3000)
    ]
    return write_page(tmp_path_factory.mktemp("large"), write_report(cases))


def shows(page) -> list[str]:
    """Return the ids of the cases that are drawn where the list begins."""
    page.run("document.getElementById('liste').scrollIntoView({behavior: 'instant'})")
    page.settle()
    return page.run(SHOWN)


def text_of(page, selector: str) -> str:
    """Return the text of an element as a reader would copy it."""
    return page.run(f"document.querySelector({json.dumps(selector)}).innerText")


def choose(page, name: str, value: str) -> None:
    """Choose an option of a select as a reader does."""
    page.run(
        f"(() => {{ const box = document.getElementById('{name}'); box.value = {json.dumps(value)}; "
        "box.dispatchEvent(new Event('change')); })()"
    )
    page.settle()


def search(page, text: str) -> None:
    """Search a text by the keyboard."""
    page.press("/")
    page.run("document.activeElement.value = ''")
    page.type(text)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("all", ["cas-cv-01", "cas-cv-02", "cas-tr-01", "cas-tr-02", "cas-tr-03"]),
        ("better", ["cas-cv-01"]),
        ("worse", ["cas-cv-02", "cas-tr-02"]),
        ("proven", ["cas-cv-02"]),
        ("different", ["cas-cv-01", "cas-cv-02", "cas-tr-02"]),
        ("failed", ["cas-tr-02", "cas-tr-03"]),
    ],
)
def test_a_view_shows_its_cases_and_says_how_many(page, small: str, view: str, expected: list[str]) -> None:
    page.open(small)
    page.click(f"[data-view={view}]")
    assert expected == shows(page)
    assert f"{len(expected)} cas sur 5" == page.run(COUNT)
    assert str(len(expected)) == text_of(page, f"[data-view={view}] .n")
    assert "true" == page.run(f"document.querySelector('[data-view={view}]').getAttribute('aria-pressed')")


def test_a_category_is_a_filter_and_the_counts_follow(page, small: str) -> None:
    page.open(small)
    choose(page, "category", "commandes")
    assert ["cas-cv-01", "cas-cv-02"] == shows(page)
    assert "0" == text_of(page, "[data-view=failed] .n")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("EDITEUR", ["cas-cv-01"]),
        ("ecran image", ["cas-cv-02"]),
        ("tr-02", ["cas-tr-02"]),
        ("no answer", ["cas-tr-02", "cas-tr-03"]),
        ("introuvable", []),
    ],
)
def test_a_search_ignores_case_and_accents(page, small: str, query: str, expected: list[str]) -> None:
    page.open(small)
    search(page, query)
    assert expected == shows(page)
    assert (not expected) == page.run("!document.getElementById('none').hidden")


def test_a_search_marks_what_it_found_and_escape_ends_it(page, small: str) -> None:
    page.open(small)
    search(page, "ecran")
    assert "écran" == text_of(page, "#cas-cv-02 h3 mark.searched")
    page.press("Escape")
    assert 5 == len(shows(page))


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("change", ["cv-02", "tr-02", "tr-01", "cv-01", "tr-03"]),
        ("relevance-base", ["cv-01", "tr-02", "tr-01", "cv-02", "tr-03"]),
        ("length-tuned", ["tr-03", "cv-02", "tr-02", "tr-01", "cv-01"]),
        ("cosine", ["cv-01", "cv-02", "tr-01", "tr-02", "tr-03"]),
    ],
)
def test_the_cases_are_sorted_by_a_score_and_those_without_it_come_last(
    page,
    small: str,
    score: str,
    expected: list[str],
) -> None:
    page.open(small)
    choose(page, "sort", score)
    assert [f"cas-{name}" for name in expected] == shows(page)


def test_the_other_direction_keeps_the_cases_without_a_score_last(page, small: str) -> None:
    page.open(small)
    choose(page, "sort", "change")
    page.click("#direction")
    assert ["cas-cv-01", "cas-tr-01", "cas-tr-02", "cas-cv-02", "cas-tr-03"] == shows(page)


def test_a_link_opens_a_case_scrolls_to_it_and_marks_it(page, small: str) -> None:
    page.open(f"{small}#cas-tr-02")
    assert ["cas-tr-02"] == page.run("[...document.querySelectorAll('.case.target')].map((one) => one.id)")
    assert "cas-tr-02" == page.run("document.activeElement.id")
    assert page.run(
        "(({top, bottom}) => top >= 0 && top < innerHeight)(document.activeElement.getBoundingClientRect())"
    )


def test_a_link_lifts_the_filters_that_hide_its_case(page, small: str) -> None:
    page.open(f"{small}#voir=better")
    assert ["cas-cv-01"] == shows(page)
    page.run("location.hash = '#cas-tr-03'")
    page.wait("document.activeElement.id === 'cas-tr-03'")
    assert 5 == len(shows(page))


def test_what_is_chosen_is_in_the_address(page, small: str) -> None:
    page.open(small)
    page.click("[data-view=failed]")
    choose(page, "sort", "cosine")
    assert "#voir=failed&tri=cosine" == page.run("location.hash")


def test_keys_go_from_case_to_case_and_can_be_switched_off(page, small: str) -> None:
    page.open(small)
    focused = []
    for key in ("j", "j", "ArrowRight", "k"):
        page.press(key)
        focused.append(page.run("document.activeElement.id"))
    assert ["cas-cv-01", "cas-cv-02", "cas-tr-01", "cas-cv-02"] == focused
    page.run("document.getElementById('keys').checked = false")
    page.press("j")
    assert "cas-cv-02" == page.run("document.activeElement.id")


def test_a_key_shows_the_differences_and_another_unfolds(page, small: str) -> None:
    page.open(f"{small}#cas-tr-02")
    page.press("o")
    page.settle()
    assert 3 == page.run("document.querySelectorAll('#cas-tr-02 .replicate').length")
    page.press("d")
    changed = "[...document.querySelectorAll('#cas-tr-02 :is(ins, del)')].map((one) => one.textContent)"
    assert ["Le son", "Non", "son", "volume", "son", "volume"] == page.run(changed)
    assert 0 == page.run("document.querySelectorAll('.pair mark').length")


def test_the_tab_key_reaches_every_control_and_the_focus_is_seen(page, small: str) -> None:
    page.open(small)
    reached = []
    for _ in range(40):
        page.command("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9)
        page.command("Input.dispatchKeyEvent", type="keyUp", key="Tab", windowsVirtualKeyCode=9)
        reached.append(page.run("document.activeElement.id || document.activeElement.dataset.view"))
        assert "none" != page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert {"theme", "all", "failed", "search", "category", "sort", "direction", "differences"} <= set(reached)


def test_keywords_and_terms_that_scored_are_marked_as_words(page, small: str) -> None:
    page.open(f"{small}#liste")
    marked = (
        "(kind) => [...document.querySelectorAll(`#cas-cv-02 .answer.base mark.${kind}`)].map((one) => one.textContent)"
    )
    assert ["ÉCRAN"] == page.run(f"({marked})('keyword')")
    assert ["capture", "ÉCRAN", "image", "photo"] == page.run(f"({marked})('term')")


def test_the_page_splits_words_as_the_scoring_does(page, asked, write_report, tmp_path: Path) -> None:
    texts = [
        "L’heure de l'été : cœur, e\u0301cran, STRASSE",
        "télé\u00adcharge\u200bments _volume_ volume_up_tool",
        "plein\u2011écran n°5 vingt-cinq ﬁn",
    ]
    found = [word for text in texts for word in words(text)]
    cases = [
        asked(prompt_id=f"w-{number}", base=[text], tuned=[text], keywords=tuple(dict.fromkeys(words(text))))
        for number, text in enumerate(texts)
    ]
    page.open(f"{write_page(tmp_path, write_report(cases))}#liste")
    page.run("document.querySelectorAll('.hidden-char').forEach((one) => one.remove())")
    marked = page.run("[...document.querySelectorAll('.answer.base mark.keyword')].map((one) => one.textContent)")
    assert found == [word for text in marked for word in words(text)]
    assert len(found) == len(marked)


def test_what_a_hostile_model_writes_is_text(page, asked, write_report, tmp_path: Path) -> None:
    cases = [
        asked(
            prompt_id=f"h-{number}",
            text=text,
            category="c",
            intended=text,
            reason=text,
            keywords=(text,),
            base=[text, "ok"],
            tuned=[text + " son", None],
        )
        for number, text in enumerate(HOSTILE)
    ]
    report = write_report(
        cases, labels={"c": HOSTILE[1]}, metadata={"device": HOSTILE[0], "base_model_label": HOSTILE[2]}
    )
    page.open(write_page(tmp_path, report))
    page.click("#unfold")
    page.click("#differences")
    assert page.run("globalThis.owned === undefined")
    assert 0 == page.run("document.querySelectorAll('main img, main script, header script, main b').length")
    for number, text in enumerate(HOSTILE[:4]):
        assert text == page.run(f"document.querySelector('#cas-h-{number} .answer.base .said').textContent")
    shown = page.run("document.querySelector('#cas-h-4 .answer.base .said').textContent")
    assert "le U+202EnosU+202C U+2066estU+2069 U+200BlàU+2028iciU+2029finU+0000U+001B[31m" == shown
    assert not set("\u202e\u2066\u200b\x1b") & set(page.run("document.body.innerText"))


def test_the_policy_refuses_any_other_script_and_any_markup(page, small: str) -> None:
    page.open(small)
    refused = page.run(
        "(() => { try { document.body.insertAdjacentHTML('beforeend', '<b>'); } "
        "catch { return true; } return false; })()"
    )
    assert refused
    page._browser.events.clear()  # what was provoked here is no complaint


def test_three_thousand_prompts_stay_usable(page, small: str, large: str) -> None:
    page.open(small)
    few = page.run("document.querySelectorAll('*').length")
    page.open(large)
    assert "3000 cas sur 3000" == page.run(COUNT)
    assert page.run("document.querySelectorAll('*').length") < 12 * few
    took = (
        "(view, times) => { const start = performance.now(); for (let n = 0; n < times; n += 1) "
        "document.querySelector(`[data-view=${view}]`).click(); return (performance.now() - start) / times; }"
    )
    none = page.run(f"({took})('failed', 10)")
    every = page.run(f"({took})('better', 5)")
    assert every < 40 * max(1.0, none), f"{every:.0f} ms to show 3,000 cases, {none:.1f} ms to show none"
    search(page, "2999")
    assert ["cas-p-2999"] == shows(page)


def test_a_link_reaches_the_last_of_three_thousand(page, large: str) -> None:
    page.open(f"{large}#cas-p-2987")
    page.settle()
    top = page.run("document.getElementById('cas-p-2987').getBoundingClientRect().top")
    assert 0 <= top < 400
    assert page.run("document.querySelectorAll('.case').length") < 200


def test_scrolling_draws_what_comes_and_takes_away_what_is_far(page, large: str) -> None:
    page.open(large)
    page.run("scrollTo(0, document.documentElement.scrollHeight * 0.6)")
    page.wait("[...document.querySelectorAll('.case')].some((one) => one.getBoundingClientRect().top > 0)")
    page.wait("!document.getElementById('cas-p-0000')")
    assert page.run("document.querySelectorAll('.case').length") < 200


def test_an_adapter_is_a_filter_and_each_of_its_cases_has_a_link(page, asked, write_report, tmp_path: Path) -> None:
    both = {"v1": ["Le son."], "v2": ["Le volume."]}
    cases = [asked(prompt_id=f"a-{number}", base=["Non."], tuned=both) for number in range(3)]
    address = write_page(tmp_path, write_report(cases, adapters=["v1", "v2"]))
    page.open(address)
    assert ["cas-a-0", "cas-a-1", "cas-a-2"] == shows(page)
    choose(page, "adapter", "v2")
    assert ["cas-a-0--v2", "cas-a-1--v2", "cas-a-2--v2"] == shows(page)
    choose(page, "adapter", "")
    assert "6 cas sur 6" == page.run(COUNT)
    page.open(f"{address}#cas-a-1--v2")
    assert "cas-a-1--v2" == page.run("document.activeElement.id")


def test_a_phone_never_scrolls_sideways(page, asked, write_report, tmp_path: Path) -> None:
    long = {f"adaptateur-au-nom-bien-trop-long-{number}": ["x" * 400] for number in range(4)}
    cases = [
        asked(
            prompt_id="p" * 80, text="y" * 300, base=["mot " * 90], tuned=long, keywords=("k" * 90,), reason="r" * 200
        )
    ]
    page.resize(360, 740, mobile=True)
    report = write_report(cases, adapters=list(long), labels={"tool_routing": "L" * 90})
    page.open(f"{write_page(tmp_path, report)}#cas-{'p' * 80}")
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.settle()
    assert 360 == page.run("document.documentElement.scrollWidth")
    boxes = "[...document.querySelectorAll('.answer')].map((one) => one.getBoundingClientRect())"
    assert page.run(f"(([one, other]) => other.top >= one.bottom)({boxes})"), "the answers are not stacked"


CONTRAST = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => (part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4))
    .reduce((sum, part, place) => sum + part * [.2126, .7152, .0722][place], 0);
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    const mix = (under, over) => under.map((part, place) => part + (over[place] - part) * over[3] / 255);
    return layers.reverse().reduce(mix, [255, 255, 255]);
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest("svg, script, style, noscript")) continue;
    const [one, other] = [light(rgba(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    const ratio = (one + .05) / (other + .05);
    const what = `${node.tagName}.${node.className}`;
    if (ratio < 4.5) poor.push(`${what}: ${ratio.toFixed(2)} (${node.textContent.trim().slice(0, 30)})`);
  }
  return [...new Set(poor)];
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(page, small: str, scheme: str) -> None:
    page.emulate(scheme=scheme)
    page.open(f"{small}#cas-cv-02")
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert [] == page.run(CONTRAST)
    page.click("#differences")
    assert [] == page.run(CONTRAST)


def test_the_colours_can_be_chosen_against_the_system(page, small: str) -> None:
    page.emulate(scheme="dark")
    page.open(small)
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.run(paper)
    page.click("#theme")
    assert dark != page.run(paper)
    page.click("#theme")
    assert dark == page.run(paper)
    page.run("localStorage.clear()")


def test_paper_has_every_case_and_nothing_to_click(page, large: str, small: str) -> None:
    page.open(small)
    page.emulate(media="print", scheme="dark")
    page.settle()
    assert "rgb(255, 255, 255)" == page.run("getComputedStyle(document.body).backgroundColor")
    hidden = "['.toolbar', 'nav', '#theme'].every((one) => !document.querySelector(one).checkVisibility())"
    assert page.run(hidden)
    assert page.run("document.querySelector('#provenance .facts-grid').checkVisibility()")
    assert 5 == len(shows(page))
    assert 15 == page.run("document.querySelectorAll('.replicate').length")
    page.emulate()
    page.settle()
    assert page.run("!document.querySelector('#provenance .facts-grid').checkVisibility()")


def test_a_part_of_three_thousand_is_printed_as_filtered(page, large: str) -> None:
    page.open(large)
    choose(page, "category", "categorie-3")
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert 375 == len(shows(page))
    page.run("dispatchEvent(new Event('afterprint'))")
