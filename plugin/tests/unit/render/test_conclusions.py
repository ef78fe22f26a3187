"""The last words of a comparison: what the tests show, with what it may come from, and no more."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from pytest_jarvis.render.french.conclusions import conclusion
from pytest_jarvis.report.comparison import RunComparison, compare_runs
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.gate import Reason
from pytest_jarvis.stats.regression import find_shifts

MakeReport = Callable[..., Report]
change = msgspec.structs.replace


def said(before: Report, after: Report, edit: Callable[[RunComparison], RunComparison] = lambda found: found) -> str:
    found = edit(compare_runs(before, after))
    return " ".join(conclusion(found, found.arms[0], after)).replace("\u00a0", " ")


def test_a_rise_is_told_with_its_figures_and_its_error(make_report) -> None:
    text = said(make_report(gains={"jarvis": 0.0}), make_report(gains={"jarvis": 0.9}, seed=2))
    assert text.startswith("Conclusion : sur 30 prompts communs, la pertinence de jarvis a monté, de 0,")
    assert "ce que le bruit n’explique pas (erreur ≤ 1 % de chaque côté)" in text
    assert "Par catégorie, au-delà du bruit : Commandes vocales +0,1" in text


def test_two_adapters_are_compared_by_their_names(make_report) -> None:
    text = said(make_report(gains={"v1": 0.9}), make_report(gains={"v2": 0.0}, seed=2))
    assert "la pertinence de v2 (0,2" in text
    assert "est plus basse que celle de v1 (0,3" in text
    assert "En baisse avérée : " in text


def test_nothing_shown_gives_the_range_of_the_true_difference(make_report) -> None:
    text = said(make_report(gains={"v1": 0.4}), make_report(gains={"v2": 0.4}, seed=2))
    assert "ni hausse ni baisse de la pertinence n’est montrée de v1 à v2" in text
    assert "le vrai écart peut aller de −0,0" in text
    assert "réglages" not in text


def test_one_response_of_one_prompt_says_that_it_says_nothing(make_report) -> None:
    one = {"categories": 1, "prompts": 1, "replicates": 1}
    assert "dont une seule réponse ne dit rien" in said(
        make_report(**one), make_report(**one, seed=3, text="Autre chose.")
    )


def test_the_same_responses_are_told_apart_by_nothing(make_report) -> None:
    assert "les réponses communes de jarvis sont les mêmes, mot pour mot" in said(make_report(), make_report())


def test_two_adapters_with_the_same_responses_are_named_and_the_runs_are_not_said_to_be_the_same(make_report) -> None:
    text = said(
        make_report(gains={"v1": 0.4}),
        make_report(gains={"v1": 0.4}),
        lambda found: replace(found, arms=(replace(found.arms[0], new_adapter="v2"),)),
    )
    assert "les réponses communes de v1 et de v2 sont les mêmes" in text
    assert "les deux essais ont les mêmes" not in text


@pytest.mark.parametrize("obstacle", ["other_dictionary", "other_kind"])
def test_what_has_no_common_scale_has_no_conclusion(make_report, obstacle: str) -> None:
    text = said(
        make_report(gains={"jarvis": 0.0}), make_report(seed=2), lambda found: replace(found, obstacles=(obstacle,))
    )
    assert text.startswith("Conclusion : rien n’est conclu sur la pertinence : ")
    assert "monté" not in text


def test_no_relevance_has_no_conclusion(make_report) -> None:
    assert "n’a pas été mesurée" in said(make_report(metrics=False), make_report(metrics=False))


def test_a_part_of_the_prompts_is_a_reserve(make_report) -> None:
    before = make_report(gains={"jarvis": 0.0})
    partial = replace(before.gate, reasons=(Reason(code="partial_selection", values={}),))
    text = said(change(before, gate=partial), make_report(seed=2))
    assert "Réserve : l’essai d’avant est interrompu ou partiel" in text


def test_a_base_that_moved_and_settings_that_differ_are_named_as_causes(make_report) -> None:
    low, high = make_report(base_terms=2.0), make_report(base_terms=9.0, seed=2)
    assert "La base aussi a monté" in said(low, high)
    after = make_report(gains={"jarvis": 0.9}, seed=2)
    hotter = change(
        after, provenance=change(after.provenance, generation=replace(after.provenance.generation, temperature=0.1))
    )
    assert "Des réglages diffèrent aussi" in said(make_report(gains={"jarvis": 0.0}), hotter)


def test_a_base_that_went_the_other_way_is_not_said_to_have_moved_too(make_report) -> None:
    text = said(
        make_report(base_terms=6.0, gains={"jarvis": 0.0}), make_report(base_terms=4.0, gains={"jarvis": 2.0}, seed=2)
    )
    assert "la pertinence de jarvis a monté" in text
    assert "La base, elle, a baissé (" in text
    assert "l’écart ne vient pas du seul adaptateur" in text
    assert "La base aussi" not in text


@pytest.mark.parametrize("edited", ["version", "machine", "timeout"])
def test_what_ran_the_model_is_named_as_a_cause_where_it_differs(make_report, edited: str) -> None:
    after = make_report(gains={"jarvis": 0.9}, seed=2)
    origin = after.provenance
    other = {
        "version": change(origin, versions={**origin.versions, "torch": "9.9"}),
        "machine": change(origin, machine=change(origin.machine, processor="autre")),
        "timeout": change(origin, generation=replace(origin.generation, timeout_s=7.0)),
    }[edited]
    before = make_report(gains={"jarvis": 0.0})
    assert "Des réglages diffèrent" not in said(before, after)
    assert "Des réglages diffèrent aussi" in said(before, change(after, provenance=other))


def test_a_shift_is_proven_only_where_its_corrected_interval_leaves_zero_out() -> None:
    scopes = {
        "": ([[0.1, 0.2, 0.1]] * 4, [[0.5, 0.6, 0.5]] * 4),
        "a": ([[0.5, 0.6, 0.5]] * 2, [[0.1, 0.2, 0.1]] * 2),
        "b": ([[0.1, 0.9, 0.5]] * 2, [[0.2, 0.9, 0.5]] * 2),
        "c": ([[0.5, 0.5]] * 2, [[0.5, 0.5]] * 2),
        "d": ([[0.5]], [[0.6]]),
    }
    shifts = {one.category: one for one in find_shifts(scopes)}
    assert {name: one.proven for name, one in shifts.items()} == {
        "": "rise",
        "a": "drop",
        "b": None,
        "c": None,
        "d": None,
    }
    assert shifts["d"].corrected is None
    for one in shifts.values():
        if one.corrected is not None and one.difference.standard_error:
            assert (one.proven is None) == (one.corrected[0] <= 0 <= one.corrected[1])
