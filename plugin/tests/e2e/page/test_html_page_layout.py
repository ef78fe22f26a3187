"""`report.html` in a real Chromium: thousands of prompts, a phone, the dark, paper."""

from collections import Counter

import pytest

pytestmark = pytest.mark.slow
COUNT = "document.getElementById('count').textContent"


def test_three_thousand_prompts_stay_usable(page, small, large) -> None:
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
    page.search("2999")
    assert ["cas-p-2999"] == page.shows()


def test_a_link_reaches_the_last_of_three_thousand(page, large) -> None:
    page.open(f"{large}#cas-p-2987")
    page.settle()
    top = page.run("document.getElementById('cas-p-2987').getBoundingClientRect().top")
    assert 0 <= top < 400
    assert page.run("document.querySelectorAll('.case').length") < 200


def test_scrolling_draws_what_comes_and_takes_away_what_is_far(page, large) -> None:
    page.open(large)
    page.run("scrollTo(0, document.documentElement.scrollHeight * 0.6)")
    page.wait("[...document.querySelectorAll('.case')].some((one) => one.getBoundingClientRect().top > 0)")
    page.wait("!document.getElementById('cas-p-0000')")
    assert page.run("document.querySelectorAll('.case').length") < 200


def test_a_phone_never_scrolls_sideways(page, asked, write_report, publish) -> None:
    long = {f"adaptateur-au-nom-bien-trop-long-{number}": ["x" * 400] for number in range(4)}
    cases = [
        asked(
            prompt_id="p" * 80, text="y" * 300, base=["mot " * 90], tuned=long, keywords=("k" * 90,), reason="r" * 200
        )
    ]
    page.resize(360, 740, mobile=True)
    report = write_report(cases, adapters=list(long), labels={"tool_routing": "L" * 90})
    page.open(f"{publish(report)}#cas-{'p' * 80}")
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.settle()
    assert 360 == page.run("document.documentElement.scrollWidth")
    boxes = "[...document.querySelectorAll('.answer')].map((one) => one.getBoundingClientRect())"
    assert page.run(f"(([one, other]) => other.top >= one.bottom)({boxes})"), "the answers are not stacked"


@pytest.mark.parametrize("width", [360, 430, 700, 1000, 1200, 1290, 1600])
def test_no_key_figure_stands_alone_on_its_line_or_leaves_its_card(page, small, width: int) -> None:
    page.resize(width, 900, mobile=width < 500)
    page.open(small)
    tops = page.run(
        "[...document.querySelectorAll('.tiles > div')].map((one) => Math.round(one.getBoundingClientRect().top))"
    )
    assert 1 == len(set(Counter(tops).values())), tops
    wide = "[...document.querySelectorAll('.tiles dd')].filter((one) => one.scrollWidth > one.clientWidth)"
    assert [] == page.run(f"{wide}.map((one) => one.textContent)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_wide_table_on_a_phone_has_a_shade_where_there_is_more_and_none_at_its_ends(
    page, small, tmp_path, scheme: str
) -> None:
    from matplotlib.image import imread

    page.emulate(scheme=scheme)
    page.open(small)
    table = "document.querySelector('#categories .table')"

    def shades(width: int, scrolled: int) -> list[bool]:
        page.resize(width, 844, mobile=width < 500)
        page.run(f"{table}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        page.run(f"{table}.scrollLeft = {scrolled}")
        page.settle()
        page.screenshot(tmp_path / "shot.png")
        left, right, bottom = page.run(
            f"(({{ left, right, bottom }}) => [left, right, bottom])({table}.getBoundingClientRect())"
        )
        line = imread(tmp_path / "shot.png")[round(bottom) - 9]  # below the text, above the corners
        card = line[round((left + right) / 2)]
        return [bool((line[round(place)] != card).any()) for place in (left + 4, right - 5)]

    assert [False, True] == shades(390, 0)
    assert [True, True] == shades(390, 40)
    assert [True, False] == shades(390, 10_000)
    assert [False, False] == shades(1280, 0)


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
def test_every_text_stands_out_from_what_is_behind_it(page, small, scheme: str) -> None:
    page.emulate(scheme=scheme)
    page.open(f"{small}#cas-cv-02")
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert [] == page.run(CONTRAST)
    page.click("#differences")
    assert [] == page.run(CONTRAST)


def test_the_colours_can_be_chosen_against_the_system(page, small) -> None:
    page.emulate(scheme="dark")
    page.open(small)
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.run(paper)
    page.click("#theme")
    assert dark != page.run(paper)
    page.click("#theme")
    assert dark == page.run(paper)
    page.run("localStorage.clear()")


def test_paper_has_every_case_and_nothing_to_click(page, large, small) -> None:
    page.open(small)
    page.emulate(media="print", scheme="dark")
    page.settle()
    assert "rgb(255, 255, 255)" == page.run("getComputedStyle(document.body).backgroundColor")
    hidden = "['.toolbar', 'nav', '#theme'].every((one) => !document.querySelector(one).checkVisibility())"
    assert page.run(hidden)
    assert page.run("document.querySelector('#provenance .facts-grid').checkVisibility()")
    assert 5 == len(page.shows())
    assert 15 == page.run("document.querySelectorAll('.replicate').length")
    page.emulate()
    page.settle()
    assert page.run("!document.querySelector('#provenance .facts-grid').checkVisibility()")


def test_a_part_of_three_thousand_is_printed_as_filtered(page, large) -> None:
    page.open(large)
    page.choose("category", "categorie-3")
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert 375 == len(page.shows())
    page.run("dispatchEvent(new Event('afterprint'))")
