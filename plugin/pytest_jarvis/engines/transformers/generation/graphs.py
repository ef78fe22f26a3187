"""Steps recorded as CUDA graphs: what records one, and the trial that says whether recorded steps may be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.generation.batching import padded_length
from pytest_jarvis.engines.transformers.generation.forward import distance, may_reroute, tolerance
from pytest_jarvis.engines.transformers.generation.steps import (
    FixedSteps,
    GrowingSteps,
    Record,
    Step,
    pad_left,
    prefill,
)
from pytest_jarvis.engines.transformers.lora.arms import as_arms, picks_by_lists
from pytest_jarvis.types import Note, text_note

if TYPE_CHECKING:
    import torch


_TRIAL_STEPS: Final = 6
"""Enough for steps before the recording, the recording, and several replays."""


def recorder(device: torch.device) -> Record:
    """Return what records steps that run on `device`, a GPU.

    A replay is all launches of a step at once, from and into the same memory:
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """
    import torch

    def record(step: Step) -> Step:
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream(device)
        try:
            # On a stream of its own: torch's own one for recordings is on the first GPU.
            with torch.cuda.device(device), torch.cuda.graph(graph, stream=torch.cuda.Stream(device)):
                logits = step()
        except BaseException:
            # torch leaves the stream it records on the current one when a recording fails.
            torch.cuda.set_stream(before)
            raise

        def replay() -> torch.Tensor:
            graph.replay()
            return logits

        return replay

    return record


def refuse_fixed(
    model: Any, batches: Sequence[Sequence[str]], prompts: Sequence[Sequence[int]], *, pad: int
) -> Note | None:
    """Return why `model` cannot take recorded steps, None when it can; `batches` holds the arms that run together."""
    if len({parameter.device for parameter in model.parameters()}) > 1:
        return Note("several_devices")
    if any(len(set(arms)) > 1 for arms in batches) and picks_by_lists(model):
        # Each list would be copied to the device, which a recording does not allow.
        return Note("rows_by_lists")
    record = recorder(model.device)
    reasons = (try_fixed(model, arms, prompts, pad=pad, record=record) for arms in batches)
    return next((reason for reason in reasons if reason is not None), None)


def try_fixed(
    model: Any, arms: Sequence[str], prompts: Sequence[Sequence[int]], *, pad: int, record: Record | None
) -> Note | None:
    """Return why steps of fixed length may not stand for growing ones, None when they give the same logits.

    `arms` run in one batch, each on all `prompts`. Both kinds of steps are given the same tokens. An arm's rows are
    looked at over all steps together: see `distance` for what rounding may do to some of them.
    """
    import torch

    rows = [prompt for _ in arms for prompt in prompts]
    names = [arm for arm in arms for _ in prompts]
    length = max(padded_length(len(prompt)) for prompt in prompts)
    input_ids, mask = pad_left(rows, length, pad, model.device)
    failures: list[Exception] = []

    def noted(step: Step) -> Step:
        """Record, and note why it fails: a batch would go on without."""
        try:
            return record(step) if record is not None else step
        except Exception as error:
            failures.append(error)
            raise

    try:
        with torch.inference_mode():
            caches = [prefill(model, names, rows, input_ids, mask) for _ in range(2)]
            if caches[0] is None:
                return Note("more_than_keys_and_values")
            growing = GrowingSteps(model, caches[0], mask)
            fixed = FixedSteps(model, caches[1], mask, new_tokens=_TRIAL_STEPS, record=record and noted)
            tokens = input_ids[:, -1]
            seen: list[tuple[torch.Tensor, torch.Tensor]] = []
            with as_arms(model, names):
                for _ in range(_TRIAL_STEPS):
                    # A recording writes to the same memory at every step.
                    expected, found = growing(tokens).float(), fixed(tokens).float().clone()
                    seen.append((expected, found))
                    tokens = expected.argmax(dim=-1)
            reason = _other_logits(seen, arms=len(arms), dtype=model.dtype, rerouted=may_reroute(model))
            if reason is not None:
                return reason
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # a driver, a compiler or a family that does not fit raises what it likes
        failures.append(error)
    return _said(failures[0]) if failures else None


def _other_logits(
    seen: Sequence[tuple[torch.Tensor, torch.Tensor]], *, arms: int, dtype: torch.dtype, rerouted: bool
) -> Note | None:
    """Return how far the logits found at each step are from those expected, None when near enough.

    Each of `seen` is (expected, found), both of shape (rows, vocabulary), as many rows of each arm, arm by arm. Where
    rows may be `rerouted`, a prompt that is never near is refused all the same: a mask or a position may be wrong for
    one length alone.
    """
    import torch

    # Of shape (steps, arms, prompts, vocabulary) from here on.
    expected, found = (torch.stack(one).unflatten(1, (arms, -1)) for one in zip(*seen, strict=True))
    allowed = tolerance(dtype) * max(1.0, float(expected.abs().max()))
    for arm in range(arms):
        difference = distance(found[:, arm].flatten(0, 1), expected[:, arm].flatten(0, 1), rerouted=rerouted)
        nearest = float((found[:, arm] - expected[:, arm]).abs().amax(dim=-1).amin(dim=0).max())
        if not max(difference, nearest) <= allowed:
            return Note("logits_differ", {"size": max(difference, nearest)})
    return None


def _said(error: Exception) -> Note:
    return text_note(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(": ."))
