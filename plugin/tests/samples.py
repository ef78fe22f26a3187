"""Samples and rows for tests: by hand, with the scores they are given."""

from typing import Any

import msgspec

from pytest_jarvis.metrics.tool_choice import Routing
from pytest_jarvis.report.schema import Figure, ResultRow, Sample
from pytest_jarvis.run.rows import make_row
from pytest_jarvis.types import DeviceMemory, Identity, PromptCase, Response, ToolCall

WHEN = "2026-03-01T12:00:00+00:00"
IDENTITY = Identity(
    engine="transformers 0.1.0",
    base="sha256:0123456789abcdef",
    adapter="fedcba9876543210",
    storage="NF4, 1.0",
    arithmetic="float32 on cpu",
    template="raw",
    prompt="ouvre chrome",
    prompt_id="c-1",
    replicate=0,
    seed=0,
    settings={"temperature": 0.7, "system_prompt": None},
    versions={"torch": "2.9.0"},
)
LOADED = DeviceMemory(
    device="GPU 0", allocated_bytes=17 * 10**9, peak_bytes=18 * 10**9, reserved_bytes=20 * 10**9, total_bytes=24 * 10**9
)


def response(arm: str = "base", replicate: int = 0, **changes: Any) -> Response:
    """Return a response, of a second and a token unless they are changed."""
    plain = {
        "prompt_id": "p",
        "text": "ouvre",
        "thinking": None,
        "finish_reason": "stop",
        "prompt_tokens": 1,
        "new_tokens": 1,
        "duration_s": 1.0,
        "first_token_s": None,
    }
    return Response(**plain | {"arm": arm, "replicate": replicate} | changes)


def sample(
    arm: str,
    replicate: int = 0,
    *,
    prompt_id: str = "p",
    text: str = "ouvre",
    seconds: float = 1.0,
    tokens: int = 1,
    tool_calls: tuple[ToolCall, ...] | None = None,
    routing: Routing | None = None,
    changes: dict[str, Any] | None = None,
    **scores: float | None,
) -> Sample:
    """Return a sample with these scores; `changes` are further fields of the response, `routing` scores itself."""
    given = {
        "prompt_id": prompt_id,
        "text": text,
        "new_tokens": tokens,
        "duration_s": seconds,
        "tool_calls": tool_calls,
    }
    if routing is not None:
        scores["tool_routing"] = float(routing.right)
    known = {name: value for name, value in scores.items() if value is not None}
    return Sample(response=response(arm, replicate, **given | (changes or {})), scores=known, routing=routing)


def with_scores(one: Sample, **scores: float | None) -> Sample:
    """Return the sample with further scores; None takes one away."""
    found = one.scores | scores
    return msgspec.structs.replace(one, scores={name: value for name, value in found.items() if value is not None})


def with_routing(one: Sample, routing: Routing | None) -> Sample:
    """Return the sample with this choice of the tool, and its score."""
    scored = with_scores(one, tool_routing=None if routing is None else float(routing.right))
    return msgspec.structs.replace(scored, routing=routing)


def row(prompt_id: str = "p", *samples: Sample, adapter: str = "lora", **changes: Any) -> ResultRow:
    """Return a row of these samples; `figures` are theirs, but for those given in `changes` as (base, finetuned)."""
    base, tuned = ([one for one in samples if (one.arm == adapter) is of_adapter] for of_adapter in (False, True))
    given = {name: Figure(base=pair[0], finetuned=pair[1]) for name, pair in changes.pop("figures", {}).items()}
    case = PromptCase(prompt_id=prompt_id, category="c", text="ouvre", keywords=("a", "b"))
    plain = msgspec.structs.replace(make_row(case, adapter, base, tuned, given=given), timestamp=WHEN, samples=samples)
    return msgspec.structs.replace(plain, **changes)
