"""Steps recorded as CUDA graphs: what records one, and the trial that says whether recorded steps may be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.arms import as_arms
from pytest_jarvis.engines.transformers.batching import padded_length
from pytest_jarvis.engines.transformers.stepping import FixedSteps, GrowingSteps, Record, Step, pad_left, prefill

if TYPE_CHECKING:
    import torch

_TRIAL_STEPS: Final = 6
"""Enough for steps before the recording, the recording, and several replays."""
_TOLERANCE: Final = {"torch.float32": 1e-4, "torch.float16": 2e-2, "torch.bfloat16": 1e-1}
"""How far logits may be from those of growing keys and values, relative to the largest: rounding follows the length."""


def record_graph(step: Step) -> Step:
    """Return what replays `step` on its GPU: all of its launches at once, from and into the same memory.

    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """
    import torch

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = step()

    def replay() -> torch.Tensor:
        graph.replay()
        return logits

    return replay


def refuse_fixed(
    model: Any, batches: Sequence[Sequence[str]], prompts: Sequence[Sequence[int]], *, pad: int
) -> str | None:
    """Return why `model` cannot take recorded steps, None when it can; `batches` holds the arms that run together."""
    if len({parameter.device for parameter in model.parameters()}) > 1:
        return "the model lies on several devices"
    reasons = (try_fixed(model, arms, prompts, pad=pad, record=record_graph) for arms in batches)
    return next((reason for reason in reasons if reason is not None), None)


def try_fixed(
    model: Any, arms: Sequence[str], prompts: Sequence[Sequence[int]], *, pad: int, record: Record | None
) -> str | None:
    """Return why steps of fixed length may not stand for growing ones, None when they give the same logits.

    `arms` run in one batch, each on all `prompts`. Both kinds of steps are given the same tokens.
    """
    import torch

    rows = [prompt for _ in arms for prompt in prompts]
    names = [arm for arm in arms for _ in prompts]
    length = max(padded_length(len(prompt)) for prompt in prompts)
    input_ids, mask = pad_left(rows, length, pad, model.device)
    try:
        with torch.inference_mode():
            caches = [prefill(model, names, rows, input_ids, mask) for _ in range(2)]
            if caches[0] is None:
                return "the model keeps more than keys and values"
            growing = GrowingSteps(model, caches[0], mask)
            fixed = FixedSteps(model, caches[1], mask, new_tokens=_TRIAL_STEPS, record=record)
            tokens = input_ids[:, -1]
            with as_arms(model, names):
                for step in range(_TRIAL_STEPS):
                    expected, found = growing(tokens).float(), fixed(tokens).float()
                    allowed = _TOLERANCE.get(str(model.dtype), 1e-4) * max(1.0, float(expected.abs().max()))
                    difference = float((found - expected).abs().max())
                    if not difference <= allowed:
                        return f"logits differ by {difference:.3g} from those of growing keys and values at step {step}"
                    tokens = expected.argmax(dim=-1)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError) as error:
        return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return None
