"""How work is shared out: groups of cases, devices, one look."""

import pytest

from pytest_jarvis.run.benchmark import choose_look, draw_part, group_cases, match_tests
from pytest_jarvis.types import PromptCase


def case(category: str, prompt_id: str) -> PromptCase:
    return PromptCase(prompt_id=prompt_id, category=category, text="", keywords=())


CASES = [case("a", "a-1"), case("b", "b-1"), case("a", "a-2"), case("a", "a-3")]


def named(workers: int, cases: list[PromptCase] | None = None) -> dict[str, list[str]]:
    """Return the groups' names and the ids of their cases."""
    groups = group_cases(CASES if cases is None else cases, workers)
    return {group.name: [one.prompt_id for one in group.cases] for group in groups}


def test_cases_are_grouped_by_category() -> None:
    assert named(2) == {"a/1": ["a-1", "a-2", "a-3"], "b/1": ["b-1"]}


def test_categories_are_cut_where_workers_would_go_idle() -> None:
    assert named(4) == {"a/1": ["a-1", "a-2"], "a/2": ["a-3"], "b/1": ["b-1"]}


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 100])
def test_every_case_is_in_one_group(workers: int) -> None:
    grouped = [one for group in group_cases(CASES, workers) for one in group.cases]
    assert sorted(one.prompt_id for one in grouped) == sorted(one.prompt_id for one in CASES)


def test_no_case_makes_no_group() -> None:
    assert named(3, []) == {}


@pytest.mark.parametrize(("most", "expected"), [(3, (2, 1)), (6, (4, 2)), (2, (1, 1)), (9, (6, 3)), (50, (20, 10))])
def test_a_part_of_the_prompts_holds_of_each_category_its_share(most: int, expected: tuple[int, int]) -> None:
    cases = [case(name, f"{name}-{number}") for name, size in (("a", 20), ("b", 10)) for number in range(size)]
    drawn = draw_part(cases, most, 0)
    assert expected == tuple(sum(one.category == name for one in drawn) for name in "ab")
    assert [one for one in cases if one in drawn] == list(drawn) == list(draw_part(cases, most, 0))
    assert most == 50 or set(drawn) != set(draw_part(cases, most, 1))


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("test_x.py::test_prompt[a-a-1]", "a-1"),
        ("test_x.py::test_prompt[fast-a-a-2]", "a-2"),
        ("test_x.py::test_prompt[b-b-1-fast]", "b-1"),
        ("test_x.py::test_prompt[none]", None),
        ("test_x.py::test_other", None),
    ],
)
def test_the_case_of_a_test_is_known_by_its_id(nodeid: str, expected: str | None) -> None:
    found = match_tests([nodeid], CASES).get(nodeid)
    assert expected == (found and found.prompt_id)


def test_a_category_with_accents_is_known_as_pytest_writes_it() -> None:
    accented = case("été", "e-1")
    assert match_tests(["t.py::t[\\xe9t\\xe9-e-1]"], [accented]) == {"t.py::t[\\xe9t\\xe9-e-1]": accented}


@pytest.mark.parametrize(
    ("looks", "recorded", "expected"),
    [((4, 8, 16), None, (8,)), ((6,), None, (6,)), ((4, 8, 16), 4, (4,)), ((4, 8, 16), 8, (8,)), ((4, 8), 2, (4,))],
)
def test_the_one_look_is_the_middle_one_of_those_there_are(
    looks: tuple[int, ...], recorded: int | None, expected: tuple[int, ...]
) -> None:
    assert expected == choose_look(looks, recorded)
