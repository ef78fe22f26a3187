"""How fast each arm answers, one request at a time: `pytest -m latence` (never part of a plain run)."""

from __future__ import annotations

from statistics import quantiles
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_benchmark.fixture import BenchmarkFixture

    from pytest_jarvis import ModelHandle, Response

pytestmark = [
    pytest.mark.latence,
    # torch's own, as it is imported first here; nothing a user of this test can mend.
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
]

PROMPTS = ("ouvre chrome", "monte le volume de vingt pour cent", "préviens-moi dans un quart d'heure")
WARM_UP = 3
ROUNDS = 21


@pytest.mark.parametrize("arm", ["base", "lora"])
def test_latence(
    arm: str,
    base_model: ModelHandle,
    lora_model: ModelHandle,
    jarvis_show: Callable[[str], None],
    request: pytest.FixtureRequest,
) -> None:
    """Each round is timed after one of the other arm, so that a machine that slows down slows both."""
    pytest.importorskip("pytest_benchmark", reason='pip install "pytest-jarvis[benchmark]"')
    benchmark: BenchmarkFixture = request.getfixturevalue("benchmark")
    benchmark.group = "latence"
    timed, other = (base_model, lora_model) if arm == "base" else (lora_model, base_model)
    responses: list[Response] = []
    number = 0

    def answer(handle: ModelHandle) -> Response:
        return handle.answer_alone(PROMPTS[number % len(PROMPTS)], replicate=number)

    def before() -> None:
        nonlocal number
        number += 1
        answer(other)

    def round_of_the_arm() -> None:
        responses.append(answer(timed))

    benchmark.pedantic(round_of_the_arm, setup=before, rounds=ROUNDS, warmup_rounds=WARM_UP, iterations=1)
    figures = summarise(responses[-ROUNDS:])
    benchmark.extra_info.update(figures)
    jarvis_show(
        f"{arm} : premier token {figures['first_token_p50_ms']:.0f} ms (p95 {figures['first_token_p95_ms']:.0f}), "
        f"{figures['tokens_per_s_p50']:.0f} tokens/s, réponse {figures['response_p50_ms']:.0f} ms "
        f"(p95 {figures['response_p95_ms']:.0f})"
    )
    assert figures["first_token_p50_ms"] <= figures["response_p50_ms"]


def summarise(responses: Sequence[Response]) -> dict[str, float]:
    """Return p50 and p95 of the time to first token and of the whole response, in ms, and of the tokens per second.

    Tokens per second are those after the first: what a reader sees flow.
    """
    first = [1000 * (response.first_token_s or 0.0) for response in responses]
    whole = [1000 * response.duration_s for response in responses]
    speeds = [
        (response.new_tokens - 1) / (response.duration_s - response.first_token_s)
        for response in responses
        if response.first_token_s is not None and response.duration_s > response.first_token_s
    ]
    found: dict[str, float] = {"responses": len(responses)}
    for name, values in (("first_token", first), ("response", whole)):
        found |= {f"{name}_p50_ms": percentile(values, 50), f"{name}_p95_ms": percentile(values, 95)}
    return found | {"tokens_per_s_p50": percentile(speeds, 50), "tokens_per_s_p5": percentile(speeds, 5)}


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile, interpolated between the two values beside it; 0 where an engine that is fake has none."""
    if len(values) < 2:
        return sum(values)
    return quantiles(values, n=100, method="inclusive")[percent - 1]
