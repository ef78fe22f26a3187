"""Length, lists of tools, empty and cut responses."""

import msgspec
import pytest
from samples import sample as plain_sample

from pytest_jarvis.report.analysis.advice import ArmDiagnostics, DiagnosticWarning, describe_arm, warn_about
from pytest_jarvis.report.schema import Sample


def sample(*, characters: int = 40, tools: int = 1, cut: bool = False) -> Sample:
    cut_short = {"finish_reason": "length" if cut else "stop"}
    said = plain_sample("jarvis", text="x" * characters, tokens=characters // 4, changes=cut_short)
    return msgspec.structs.replace(said, tools_named=tuple(f"tool {number}" for number in range(tools)))


PLAIN = describe_arm([sample()] * 20)


def test_an_arm_is_described_by_means_and_shares_over_its_responses() -> None:
    assert describe_arm([sample(), sample(characters=0, tools=0), sample(characters=80, tools=5, cut=True)]) == (
        ArmDiagnostics(
            responses=3,
            mean_characters=40.0,
            mean_tokens=10.0,
            tools_per_response=2.0,
            stuffed_share=1 / 3,
            empty_share=1 / 3,
            cut_share=1 / 3,
        )
    )


def test_an_arm_without_responses_has_no_means() -> None:
    empty = describe_arm([])
    assert (empty.responses, empty.mean_characters, empty.empty_share) == (0, None, None)
    assert warn_about(empty, empty, 0.1) == ()


@pytest.mark.parametrize(
    ("responses", "code", "values"),
    [
        ([sample(tools=3)] * 20, "stuffing", {"base": 1.0, "finetuned": 3.0, "share": 0.0}),
        ([sample()] * 19 + [sample(tools=13)], "stuffing", {"base": 1.0, "finetuned": 1.6, "share": 0.05}),
        ([sample(characters=60)] * 20, "length", {"base": 40.0, "finetuned": 60.0, "ratio": 1.5}),
    ],
    ids=["more tools", "a few recitations", "longer"],
)
def test_a_gain_that_comes_with_more_tools_or_longer_answers_is_suspect(responses, code, values) -> None:
    assert warn_about(PLAIN, describe_arm(responses), 0.1) == (DiagnosticWarning(code=code, values=values),)
    assert warn_about(PLAIN, describe_arm(responses), 0.0) == warn_about(PLAIN, PLAIN, 0.1) == ()


@pytest.mark.parametrize(("response", "code"), [(sample(characters=0, tools=0), "empty"), (sample(cut=True), "cut")])
def test_responses_that_are_no_answers_are_said_even_without_a_gain(response: Sample, code: str) -> None:
    (warning,) = warn_about(PLAIN, describe_arm([sample()] * 19 + [response]), -0.1)
    assert (warning.code, warning.values) == (code, {"share": 0.05, "base": 0.0})
