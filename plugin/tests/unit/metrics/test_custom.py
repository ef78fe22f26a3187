"""Metrics that others add: what the decorator declares, what is refused, and what counts as measured."""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from samples import response as make_response

from pytest_jarvis import jarvis_metric
from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.config import MetricBar
from pytest_jarvis.metrics.custom import MetricFaultError, MetricSet, check_metric_bars, collect_metrics
from pytest_jarvis.metrics.registry import RESERVED, MetricSpec, Reading
from pytest_jarvis.metrics.relevance import TextScore
from pytest_jarvis.types import PromptCase, Response

READING = Reading(
    text=TextScore(
        keywords_found=(),
        keyword_share=0,
        terms_found=(),
        tools_named=(),
        terms_announced=(),
        relevance=0,
        dictionary_relevance=0,
    )
)
response = partial(make_response, prompt_id="cv-01", text="Bien sûr.")
CASE = PromptCase(prompt_id="cv-01", category="c", text="ouvre", keywords=("ouvre",))


def module(*functions: object) -> ModuleType:
    """Return a module that holds these functions."""
    made = ModuleType("conftest")
    for number, function in enumerate(functions):
        setattr(made, f"name_{number}", function)
    return made


def measures(function: Callable[..., Any], **declared: Any) -> MetricSet:
    """Return the metrics of a session with this one."""
    return MetricSet(collect_metrics([module(jarvis_metric(**declared)(function))]))


def test_a_bare_decorator_names_the_metric_by_its_function() -> None:
    @jarvis_metric
    def politesse(case: PromptCase, response: Response) -> float:
        return 1.0

    (metric,) = collect_metrics([module(politesse)])
    assert metric.spec == MetricSpec(name="politesse", label="politesse", higher_is_better=True, per="response")
    assert metric.measure is not None
    assert metric.measure(CASE, response(), READING) == 1.0


def test_a_decorated_function_can_still_be_called() -> None:
    assert 2.0 == jarvis_metric(label="X")(lambda case, response: 2.0)(CASE, response())


def test_a_function_imported_into_several_modules_is_one_metric() -> None:
    shared = jarvis_metric(name="x")(lambda case, response: 1.0)
    assert ["x"] == [metric.spec.name for metric in collect_metrics([module(shared), object(), module(shared)])]


def test_metrics_come_in_the_order_they_are_declared() -> None:
    made = [jarvis_metric(name=name)(lambda case, response: 1.0) for name in ("z", "a")]
    assert ["z", "a"] == [metric.spec.name for metric in collect_metrics([module(*made)])]


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"name": "relevance"}, "'relevance' is a metric of the benchmark itself"),
        ({"name": "a b"}, "name: expected letters, digits, '_', '-' and '.', a letter first, found 'a b'"),
        ({"name": 3}, "found 3"),
        ({"name": "a", "label": " "}, "label: expected a line of 1 to 40 characters, found ' '"),
        ({"name": "a", "label": "x\ny"}, "label: expected a line"),
        ({"name": "a", "label": "x" * 41}, "label: expected a line"),
        ({"name": "a", "higher_is_better": "oui"}, "higher_is_better: expected True or False, found 'oui'"),
        ({"name": "a", "per": "prompt"}, "per: expected 'response' or 'pair', found 'prompt'"),
        ({"name": "a", "per": "pair"}, "a metric per pair is a function of (case, base, finetuned), 'a' is not"),
    ],
)
def test_a_declaration_that_cannot_be_is_one_sentence_with_its_place(
    declared: Mapping[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as caught:
        measures(lambda case, response: 1.0, **declared)
    assert sentence in str(caught.value)
    assert "test_custom.py:" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_function_is_named_as_it_is() -> None:
    class Callable_:  # noqa: N801  # its name is not the subject
        def __call__(self, case: PromptCase) -> float:
            return 1.0

    with pytest.raises(InputError, match=r"Callable_ object at .*a metric per response is a function of"):
        measures(Callable_(), name="x")


def test_a_callable_without_a_name_must_be_given_one() -> None:
    class Length:
        def __call__(self, case: PromptCase, response: Response) -> float:
            return float(len(response.text))

    with pytest.raises(InputError, match=r"name: expected letters.*found None"):
        measures(Length())
    assert {"longueur": 9.0} == measures(Length(), name="longueur").of_response(CASE, response(), READING)


def test_a_name_used_twice_is_refused_with_both_places() -> None:
    one, other = (jarvis_metric(name="x")(lambda case, response: 1.0) for _ in range(2))
    with pytest.raises(InputError, match=r"test_custom\.py:\d+: metric 'x': .*test_custom\.py:\d+ declares one"):
        collect_metrics([module(one), module(other)])


@pytest.mark.parametrize(("value", "expected"), [(1, 1.0), (0.25, 0.25), (Fraction(1, 2), 0.5)])
def test_a_number_is_measured(value: float, expected: float) -> None:
    assert {"x": expected} == measures(lambda case, response: value, name="x").of_response(CASE, response(), READING)


def test_none_is_not_measured_and_not_zero() -> None:
    assert {} == measures(lambda case, response: None, name="x").of_response(CASE, response(), READING)
    assert {} == measures(lambda case, base, finetuned: None, name="x", per="pair").of_pair(
        CASE, response(), response("jarvis")
    )


@pytest.mark.parametrize("value", [True, math.nan, math.inf, "haut", [1], 1j])
def test_what_is_no_finite_number_is_one_sentence(value: object) -> None:
    with pytest.raises(MetricFaultError) as caught:
        measures(lambda case, response: value, name="x").of_response(CASE, response("jarvis", replicate=2), READING)
    said = f"found {value!r}"
    assert str(caught.value) == (
        "metric 'x': prompt 'cv-01', jarvis, response 3: "
        f"expected a finite number, or None where it does not apply, {said}"
    )
    assert caught.value.response.arm == "jarvis"


@pytest.mark.parametrize(
    ("error", "said"), [(ValueError("deux\nlignes"), "ValueError: deux lignes"), (KeyError(), "KeyError")]
)
def test_an_exception_is_one_sentence_with_its_line(error: Exception, said: str) -> None:
    def bad(case: PromptCase, response: Response) -> float:
        raise error

    with pytest.raises(MetricFaultError, match=rf"^metric 'bad': .*raised {said} \(.*\.py:\d+\)$"):
        measures(bad).of_response(CASE, response(), READING)


def test_a_pair_is_measured_on_both_responses_and_not_on_one() -> None:
    def longer(case: PromptCase, base: Response, finetuned: Response) -> float:
        return len(finetuned.text) - len(base.text)

    found = measures(longer, per="pair")
    assert {"longer": 3.0} == found.of_pair(CASE, response(text="a"), response("jarvis", text="abcd"))
    assert {} == found.of_response(CASE, response(), READING)


def hooked(*results: object, name: str | None = None) -> MetricSet:
    """Return metrics whose hook gives these results, beside a declared one of this name."""
    declared = [module(jarvis_metric(name=name)(lambda case, response: 5.0))] if name else []
    return MetricSet(collect_metrics(declared), lambda case, response: results)


def test_of_a_name_that_two_hooks_give_the_last_registered_counts() -> None:
    assert {"x": 2.0, "y": 3.0} == hooked({"x": 1, "y": 3}, {"x": 2}).of_response(CASE, response(), READING)


def test_the_hook_and_the_declared_metrics_stand_side_by_side() -> None:
    assert {"x": 1.0, "z": 5.0} == hooked({"x": 1, "y": None}, name="z").of_response(CASE, response(), READING)


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (3, "expected numbers by name, found 3"),
        ({1: 2.0}, "expected a name such as 'politesse', found 1"),
        ({"relevance": 2.0}, "'relevance' is the name of another metric"),
        ({"z": 2.0}, "'z' is the name of another metric"),
        ({"y": True}, "pytest_jarvis_response_metrics: 'y': prompt 'cv-01', base, response 1: expected a finite"),
    ],
)
def test_what_a_hook_may_not_give_is_one_sentence(result: object, sentence: str) -> None:
    with pytest.raises(MetricFaultError) as caught:
        hooked(result, name="z").of_response(CASE, response(), READING)
    assert sentence in str(caught.value)


def test_a_hook_that_raises_is_one_sentence() -> None:
    def hook(case: PromptCase, response: Response) -> list[object]:
        return [1 / 0]

    with pytest.raises(MetricFaultError, match=r"pytest_jarvis_response_metrics: .*raised ZeroDivisionError"):
        MetricSet(hook=hook).of_response(CASE, response(), READING)


X = MetricSpec(name="politesse", label="Politesse")
PAIRS = MetricSpec(name="accord", label="Accord", per="pair")


@pytest.mark.parametrize(
    ("bars", "sentence"),
    [
        ({"politesse": MetricBar()}, "'politesse' is empty; give it min_gain, min_mean or max_mean"),
        ({"politese": MetricBar(min_mean=1)}, "no metric of this name; did you mean 'politesse'?"),
        ({"accord": MetricBar(min_gain=1)}, "'accord': min_gain: a metric of pairs has no gain"),
    ],
)
def test_a_bar_that_cannot_be_judged_is_one_sentence(bars: dict[str, MetricBar], sentence: str) -> None:
    with pytest.raises(InputError, match=r"^configuration: benchmark: metric_bars: ") as caught:
        check_metric_bars(bars, [X, PAIRS], open_names=False)
    assert sentence in str(caught.value)


def test_a_bar_without_any_metric_says_how_to_declare_one() -> None:
    with pytest.raises(InputError, match="none is declared with @jarvis_metric"):
        check_metric_bars({"x": MetricBar(min_mean=1)}, [], open_names=False)


def test_a_bar_may_be_about_what_only_the_hook_will_name() -> None:
    check_metric_bars({"x": MetricBar(min_gain=1), "politesse": MetricBar(min_gain=1)}, [X], open_names=True)


def test_a_bar_may_be_on_a_built_in_metric_but_not_on_the_gain_of_pairs() -> None:
    check_metric_bars({"seconds": MetricBar(max_mean=2)}, [], open_names=False)
    with pytest.raises(InputError, match="a metric of pairs has no gain"):
        check_metric_bars({"cosine_similarity": MetricBar(min_gain=1)}, [], open_names=False)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_added_metric_can_take_a_name_that_reports_have(name: str) -> None:
    with pytest.raises(InputError, match="is a metric of the benchmark itself"):
        measures(lambda case, response: 1.0, name=name)
