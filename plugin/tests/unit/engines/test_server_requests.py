"""What is asked of a server, worked out by functions of values, and an encoder that cannot be loaded here."""

import importlib.metadata
import sys
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_jarvis.engines.server.client import ServerAnswer, request_seed
from pytest_jarvis.engines.server.connection import AttemptError, is_same_origin, retry_after_s
from pytest_jarvis.engines.server.embeddings import LocalEncoder
from pytest_jarvis.engines.server.preflight import largest_change

NOON = 1_792_584_000.0
"""Wed, 21 Oct 2026 12:00:00 GMT."""


@given(st.integers(0, 2**63 - 1), st.text(max_size=20), st.integers(0, 2_000_000))
def test_a_seed_is_one_that_every_server_takes(seed: int, prompt_id: str, replicate: int) -> None:
    assert 0 < request_seed(seed, prompt_id, replicate) < 2**31


def test_seeds_differ_by_run_prompt_and_replicate() -> None:
    seeds = {request_seed(seed, prompt, number) for seed in (0, 1) for prompt in ("a", "b") for number in range(50)}
    assert len(seeds) == 200


def test_the_seeds_of_a_run_stay_the_same_from_version_to_version() -> None:
    assert [request_seed(0, "cv-01", number) for number in (0, 1)] == [286607853, 1777875011]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("3", 3.0),
        ("0.25", 0.25),
        ("-1", 0.0),
        ("nan", None),
        ("soon", None),
        ("Wed, 21 Oct 2026 12:00:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, expected: float | None) -> None:
    assert expected == retry_after_s(header, now=NOON)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("https://h:443/other", True),
        ("https://H/v1", True),
        ("http://h/v1", False),
        ("https://h:8443/v1", False),
        ("https://h.evil/v1", False),
        ("https://api.h/v1", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(other: str, expected: bool) -> None:
    assert expected == is_same_origin("https://h/v1", other)


def probed(*places: dict[str, float]) -> list[ServerAnswer]:
    return [ServerAnswer(text="", places=places)]


def test_equal_answers_have_no_change() -> None:
    assert largest_change(probed({"a": -1.0, "b": -2.0}), probed({"a": -1.0, "b": -2.0})) == 0.0


def test_the_largest_change_of_any_token_counts() -> None:
    assert largest_change(probed({"a": -1.0, "b": -2.0}), probed({"a": -1.25, "b": -2.5})) == 0.5


def test_places_behind_different_texts_are_not_compared() -> None:
    one = probed({"a": -1.0, "b": -1.5}, {"x": -1.0})
    other = probed({"a": -1.5, "b": -1.0}, {"x": -9.0})
    assert largest_change(one, other) == 0.5


def test_a_token_that_one_place_alone_lists_counts_as_far_as_the_other_bounds_it() -> None:
    assert largest_change(probed({"a": -1.0, "b": -2.0}), probed({"a": -1.0, "c": -4.0})) == 2.0


def test_answers_without_log_probabilities_have_no_change_to_speak_of() -> None:
    assert largest_change(probed(), probed({"a": -1.0})) is None
    assert largest_change(probed({}), probed({"a": -1.0})) is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError(), "OSError"), (ValueError("\n"), "ValueError"), (OSError("no weights\nat all"), "no weights")],
    ids=["no message", "an empty line", "two lines"],
)
def test_an_encoder_that_cannot_be_loaded_says_why_in_one_line(monkeypatch, error: Exception, reason: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    library = ModuleType("sentence_transformers")
    library.SentenceTransformer = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1")
    with pytest.raises(AttemptError) as refused:
        LocalEncoder("small").embed(["oui"])
    assert str(refused.value) == f"small cannot be loaded: {reason}"
