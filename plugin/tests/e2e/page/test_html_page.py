"""`report.html` in a real Chromium: what a reader, a keyboard, a phone, a printer and a hostile model do to it."""

import pytest

from pytest_jarvis.text import words

pytestmark = pytest.mark.slow
COUNT = "document.getElementById('count').textContent"
HOSTILE = (
    "<script>globalThis.owned = 1</script>",
    "</script><script>globalThis.owned = 2</script>",
    "<img src=x onerror='globalThis.owned = 3'>",
    "<!--<script> ]]> &lt;b&gt; {n} @data@",
    "le \u202enos\u202c \u2066est\u2069 \u200blà\u2028ici\u2029fin\x00\x1b[31m",
)


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
def test_a_view_shows_its_cases_and_says_how_many(page, small, view: str, expected: list[str]) -> None:
    page.open(small)
    page.click(f"[data-view={view}]")
    assert expected == page.shows()
    assert f"{len(expected)} cas sur 5" == page.run(COUNT)
    assert str(len(expected)) == page.text_of(f"[data-view={view}] .n")
    assert "true" == page.run(f"document.querySelector('[data-view={view}]').getAttribute('aria-pressed')")


def test_a_category_is_a_filter_and_the_counts_follow(page, small) -> None:
    page.open(small)
    page.choose("category", "commandes")
    assert ["cas-cv-01", "cas-cv-02"] == page.shows()
    assert "0" == page.text_of("[data-view=failed] .n")


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
def test_a_search_ignores_case_and_accents(page, small, query: str, expected: list[str]) -> None:
    page.open(small)
    page.search(query)
    assert expected == page.shows()
    assert (not expected) == page.run("!document.getElementById('none').hidden")


def test_a_search_marks_what_it_found_and_escape_ends_it(page, small) -> None:
    page.open(small)
    page.search("ecran")
    assert "écran" == page.text_of("#cas-cv-02 h3 mark.searched")
    page.press("Escape")
    assert 5 == len(page.shows())


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
    page, small, score: str, expected: list[str]
) -> None:
    page.open(small)
    page.choose("sort", score)
    assert [f"cas-{name}" for name in expected] == page.shows()


def test_the_other_direction_keeps_the_cases_without_a_score_last(page, small) -> None:
    page.open(small)
    page.choose("sort", "change")
    page.click("#direction")
    assert ["cas-cv-01", "cas-tr-01", "cas-tr-02", "cas-cv-02", "cas-tr-03"] == page.shows()


def test_a_link_opens_a_case_scrolls_to_it_and_marks_it(page, small) -> None:
    page.open(f"{small}#cas-tr-02")
    assert ["cas-tr-02"] == page.run("[...document.querySelectorAll('.case.target')].map((one) => one.id)")
    assert "cas-tr-02" == page.run("document.activeElement.id")
    assert page.run(
        "(({top, bottom}) => top >= 0 && top < innerHeight)(document.activeElement.getBoundingClientRect())"
    )


def test_a_link_lifts_the_filters_that_hide_its_case(page, small) -> None:
    page.open(f"{small}#voir=better")
    assert ["cas-cv-01"] == page.shows()
    page.run("location.hash = '#cas-tr-03'")
    page.wait("document.activeElement.id === 'cas-tr-03'")
    assert 5 == len(page.shows())


def test_what_is_chosen_is_in_the_address(page, small) -> None:
    page.open(small)
    page.click("[data-view=failed]")
    page.choose("sort", "cosine")
    assert "#voir=failed&tri=cosine" == page.run("location.hash")


def test_keys_go_from_case_to_case_and_can_be_switched_off(page, small) -> None:
    page.open(small)
    focused = []
    for key in ("j", "j", "ArrowRight", "k"):
        page.press(key)
        focused.append(page.run("document.activeElement.id"))
    assert ["cas-cv-01", "cas-cv-02", "cas-tr-01", "cas-cv-02"] == focused
    page.run("document.getElementById('keys').checked = false")
    page.press("j")
    assert "cas-cv-02" == page.run("document.activeElement.id")


def test_a_key_shows_the_differences_and_another_unfolds(page, small) -> None:
    page.open(f"{small}#cas-tr-02")
    page.press("o")
    page.settle()
    assert 3 == page.run("document.querySelectorAll('#cas-tr-02 .replicate').length")
    page.press("d")
    changed = "[...document.querySelectorAll('#cas-tr-02 :is(ins, del)')].map((one) => one.textContent)"
    assert ["Le son", "Non", "son", "volume", "son", "volume"] == page.run(changed)
    assert 0 == page.run("document.querySelectorAll('.pair mark').length")


def test_the_tab_key_reaches_every_control_and_the_focus_is_seen(page, small) -> None:
    page.open(small)
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(page.run("document.activeElement.id || document.activeElement.dataset.view"))
        assert "none" != page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert {"theme", "all", "failed", "search", "category", "sort", "direction", "differences"} <= set(reached)


def test_keywords_and_terms_that_scored_are_marked_as_words(page, small) -> None:
    page.open(f"{small}#liste")
    marked = (
        "(kind) => [...document.querySelectorAll(`#cas-cv-02 .answer.base mark.${kind}`)].map((one) => one.textContent)"
    )
    assert ["ÉCRAN"] == page.run(f"({marked})('keyword')")
    assert ["capture", "ÉCRAN", "image", "photo"] == page.run(f"({marked})('term')")


def test_the_page_splits_words_as_the_scoring_does(page, asked, write_report, publish) -> None:
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
    page.open(f"{publish(write_report(cases))}#liste")
    page.run("document.querySelectorAll('.hidden-char').forEach((one) => one.remove())")
    marked = page.run("[...document.querySelectorAll('.answer.base mark.keyword')].map((one) => one.textContent)")
    assert found == [word for text in marked for word in words(text)]
    assert len(found) == len(marked)


def test_what_a_hostile_model_writes_is_text(page, asked, write_report, publish) -> None:
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
    report = write_report(cases, labels={"c": HOSTILE[1]}, metadata={"device": HOSTILE[0], "base_model": HOSTILE[2]})
    page.open(publish(report))
    page.click("#unfold")
    page.click("#differences")
    assert page.run("globalThis.owned === undefined")
    assert 0 == page.run("document.querySelectorAll('main img, main script, header script, main b').length")
    for number, text in enumerate(HOSTILE[:4]):
        assert text == page.run(f"document.querySelector('#cas-h-{number} .answer.base .said').textContent")
    shown = page.run("document.querySelector('#cas-h-4 .answer.base .said').textContent")
    assert "le U+202EnosU+202C U+2066estU+2069 U+200BlàU+2028iciU+2029finU+0000U+001B[31m" == shown
    assert not set("\u202e\u2066\u200b\x1b") & set(page.run("document.body.innerText"))


def test_the_policy_refuses_any_other_script_and_any_markup(page, small) -> None:
    page.open(small)
    refused = page.run(
        "(() => { try { document.body.insertAdjacentHTML('beforeend', '<b>'); } "
        "catch { return true; } return false; })()"
    )
    assert refused
    page.complaints.clear()  # what was provoked here is no complaint


def test_an_adapter_is_a_filter_and_each_of_its_cases_has_a_link(page, asked, write_report, publish) -> None:
    both = {"v1": ["Le son."], "v2": ["Le volume."]}
    cases = [asked(prompt_id=f"a-{number}", base=["Non."], tuned=both) for number in range(3)]
    address = publish(write_report(cases, adapters=["v1", "v2"]))
    page.open(address)
    assert ["cas-a-0", "cas-a-1", "cas-a-2"] == page.shows()
    page.choose("adapter", "v2")
    assert ["cas-a-0--v2", "cas-a-1--v2", "cas-a-2--v2"] == page.shows()
    page.choose("adapter", "")
    assert "6 cas sur 6" == page.run(COUNT)
    page.open(f"{address}#cas-a-1--v2")
    assert "cas-a-1--v2" == page.run("document.activeElement.id")
