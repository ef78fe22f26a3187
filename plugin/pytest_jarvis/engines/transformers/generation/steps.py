"""Decoding steps with a growing cache, or with a static one whose steps are recorded as a CUDA graph.

On a CPU the keys and values grow by a token a step, and rows may leave. On a GPU a step of Qwen3-30B-A3B launches a
kernel for each of some 5,800 operations, which takes the processor longer than the GPU should need to run them. There
the keys and values have their final length from the start, so that every step is the same launches, recorded once and
replayed. A trial at load says whether recorded steps give the logits of growing ones.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.footprint import EXPERTS_PER_TOKEN
from pytest_jarvis.engines.transformers.generation.batching import padded_length
from pytest_jarvis.engines.transformers.lora.arms import needs_row_lists, select_arms
from pytest_jarvis.types import Note, text_note

if TYPE_CHECKING:
    import torch


Step = Callable[[], "torch.Tensor"]
Record = Callable[[Step], Step]
"""Captures a warmed-up step as a CUDA graph and returns a callable that replays it."""
_UNRECORDED: Final = 2
"""Warm-up steps before the recording: the first compile kernels and allocate the libraries' memory."""
_LENGTH_STEP: Final = 16  # Cache lengths are rounded up to a multiple of this, as attention kernels want their masks.
_TRIAL_STEPS: Final = 6  # Enough for the warm-up, the recording, and several replays.
_TOLERANCE: Final = {"torch.float32": 1e-4, "torch.float16": 2e-2, "torch.bfloat16": 1e-1}
"""Allowed rounding relative to the largest logit, by dtype: of a mixed batch against separate passes, of fixed steps
against growing ones, and of an arm against itself before others were attached."""


class GrowingSteps:
    """Steps of a batch with a growing cache, from the last token of its prompts on; the caller selects the arms."""

    failure: Note | None = None

    def __init__(self, model: Any, cache: Any, attention_mask: torch.Tensor) -> None:
        """`cache` holds all tokens of the prompts but the last; `attention_mask` is (rows, length of the prompts)."""
        self._causal = causal_model(model)
        self._cache = cache
        self._mask = attention_mask
        self._fresh = True

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, vocabulary), after `tokens`, int64 of shape (rows,)."""
        import torch

        if not self._fresh:
            self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
        self._fresh = False
        return _logits(
            self._causal,
            tokens.unsqueeze(-1),
            attention_mask=self._mask,
            position_ids=self._mask.sum(dim=-1, keepdim=True) - 1,
            cache=self._cache,
        )

    def keep(self, places: torch.Tensor) -> None:
        """Go on with the rows at `places` only, int64 of shape (rows left,)."""
        self._mask = self._mask[places]
        # Not `batch_select_indices`: this one takes the places to each layer's device.
        self._cache.reorder_cache(places)


class FixedSteps:
    """Steps of a batch with a static cache of the final length, recorded when `record` is given; rows cannot leave."""

    def __init__(
        self, model: Any, cache: Any, attention_mask: torch.Tensor, *, new_tokens: int, record: Record | None
    ) -> None:
        """`cache` and `attention_mask` are those of `GrowingSteps`; the cache is moved into the static one."""
        import torch

        rows, length = attention_mask.shape
        total = -(-(length + new_tokens) // _LENGTH_STEP) * _LENGTH_STEP
        self._causal = causal_model(model)
        self._cache = _fixed_cache(self._causal.config, cache, total)
        self._mask = torch.zeros((rows, 1, 1, total), dtype=torch.bool, device=attention_mask.device)
        self._mask[:, 0, 0, :length] = attention_mask.bool()
        self._positions = attention_mask.sum(dim=-1, keepdim=True) - 1
        self._tokens = torch.zeros_like(self._positions)
        self._seen = length
        self._record = record
        self._steps = 0
        self._recorded: Step | None = None
        self.failure: Note | None = None
        """Why a step could not be recorded; steps then run kernel by kernel."""

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after `tokens`; the next call overwrites them."""
        self._tokens.copy_(tokens.unsqueeze(-1))
        if self._steps:
            self._positions.add_(1)
            self._mask[..., self._seen] = True
            self._seen += 1
        self._steps += 1
        if self._recorded is None and self._record is not None and self._steps > _UNRECORDED:
            self._recorded = self._recording(self._record)
        return self._step() if self._recorded is None else self._recorded()

    def _recording(self, record: Record) -> Step | None:
        """Return the recorded step, or None when recording fails, which runs nothing."""
        import torch

        try:
            return record(self._step)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.failure = text_note(" ".join(str(error).split())[:200].rstrip(".") or type(error).__name__)
            self._record = None
            return None

    def _step(self) -> torch.Tensor:
        return _logits(
            self._causal, self._tokens, attention_mask=self._mask, position_ids=self._positions, cache=self._cache
        )


def prefill(
    model: Any, arms: Sequence[str], prompts: Sequence[Sequence[int]], input_ids: torch.Tensor, mask: torch.Tensor
) -> Any:
    """Return the cache of all tokens of the prompts but the last, each prompt of an arm computed once.

    `input_ids` and `mask` are the padded `prompts`; the last token is left to the first step. None when the model keeps
    more than keys and values, which cannot be copied to the replicates this way.
    """
    import torch
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    places: dict[tuple[str, tuple[int, ...]], int] = {}
    source = [places.setdefault((arm, tuple(prompt)), len(places)) for arm, prompt in zip(arms, prompts, strict=True)]
    cache = DynamicCache(config=model.config)
    if any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    firsts = [source.index(place) for place in range(len(places))]
    positions = (mask[firsts].cumsum(dim=-1) - 1).clamp(min=0)
    with select_arms(model, [arms[first] for first in firsts]):
        inner = causal_model(model).base_model
        inner(
            input_ids=input_ids[firsts],
            attention_mask=mask[firsts],
            past_key_values=cache,
            use_cache=True,
            **filter_inputs(inner, position_ids=positions),
        )
    # The whole prompt runs, as batch-invariant attention needs its padded length; then its last token goes.
    cache.crop(-1)
    cache.reorder_cache(torch.tensor(source, device=input_ids.device))
    return cache


def _fixed_cache(config: Any, cache: Any, total: int) -> Any:
    """Return a static cache of `total` tokens that starts with `cache`, moved layer by layer to save memory."""
    from transformers import StaticCache

    fixed = StaticCache(config=config, max_cache_len=total)
    for layer, grown in zip(fixed.layers, cache.layers, strict=True):
        layer.lazy_initialization(grown.keys, grown.values)
        length = grown.keys.shape[-2]
        layer.keys[:, :, :length] = grown.keys
        layer.values[:, :, :length] = grown.values
        layer.cumulative_length.fill_(length)
        grown.keys = grown.values = None
    return fixed


def _logits(
    causal: Any, input_ids: torch.Tensor, *, attention_mask: torch.Tensor, position_ids: torch.Tensor, cache: Any
) -> torch.Tensor:
    """Return the logits after the last of `input_ids`, (rows, vocabulary)."""
    output = causal(
        input_ids=input_ids,
        attention_mask=attention_mask,
        past_key_values=cache,
        use_cache=True,
        **filter_inputs(causal, position_ids=position_ids, logits_to_keep=1),
    )
    logits: torch.Tensor = output.logits[:, -1]
    return logits


def causal_model(model: Any) -> Any:
    """Return the transformers model inside a peft model, or `model` itself."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def filter_inputs(model: Any, **inputs: Any) -> dict[str, Any]:
    """Return those of `inputs` that the forward of `model` names: some families refuse what `**kwargs` gathers."""
    parameters = _parameters_of(type(model).forward)
    return {name: value for name, value in inputs.items() if name in parameters}


@functools.cache
def _parameters_of(forward: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)


def pad_left(
    sequences: Sequence[Sequence[int]], length: int, pad: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (tokens, attention mask), both int64 of shape (sequences, length), padded on the left."""
    import torch

    tokens = torch.full((len(sequences), length), pad, dtype=torch.int64)
    mask = torch.zeros((len(sequences), length), dtype=torch.int64)
    for index, sequence in enumerate(sequences):
        tokens[index, length - len(sequence) :] = torch.tensor(sequence, dtype=torch.int64)
        mask[index, length - len(sequence) :] = 1
    return tokens.to(device), mask.to(device)


def make_recorder(device: torch.device) -> Record:
    """Return a recorder of steps on `device`, a GPU: docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs."""
    import torch

    def record(step: Step) -> Step:
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream(device)
        try:
            # On its own stream: torch's default one for recordings is on the first GPU.
            with torch.cuda.device(device), torch.cuda.graph(graph, stream=torch.cuda.Stream(device)):
                logits = step()
        except BaseException:
            # When a recording fails, torch leaves its stream the current one.
            torch.cuda.set_stream(before)
            raise

        def replay() -> torch.Tensor:
            graph.replay()
            return logits

        return replay

    return record


def find_recording_obstacle(
    model: Any, batches: Sequence[Sequence[str]], prompts: Sequence[Sequence[int]], *, pad: int
) -> Note | None:
    """Return why `model` cannot run recorded steps, or None; `batches` holds the arms that run together."""
    if len({parameter.device for parameter in model.parameters()}) > 1:
        return Note("several_devices")
    if any(len(set(arms)) > 1 for arms in batches) and needs_row_lists(model):
        # A recording does not allow copying each list to the device.
        return Note("rows_by_lists")
    record = make_recorder(model.device)
    reasons = (try_fixed_steps(model, arms, prompts, pad=pad, record=record) for arms in batches)
    return next((reason for reason in reasons if reason is not None), None)


def try_fixed_steps(
    model: Any, arms: Sequence[str], prompts: Sequence[Sequence[int]], *, pad: int, record: Record | None
) -> Note | None:
    """Return why fixed steps cannot replace growing ones, or None: one batch of `arms`, each on all `prompts`."""
    import torch

    rows = [prompt for _ in arms for prompt in prompts]
    names = [arm for arm in arms for _ in prompts]
    length = max(padded_length(len(prompt)) for prompt in prompts)
    input_ids, mask = pad_left(rows, length, pad, model.device)
    failures: list[Exception] = []

    def record_or_note(step: Step) -> Step:
        """Record, and keep the error, which `FixedSteps` would pass over."""
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
            fixed = FixedSteps(model, caches[1], mask, new_tokens=_TRIAL_STEPS, record=record and record_or_note)
            tokens = input_ids[:, -1]
            seen: list[tuple[torch.Tensor, torch.Tensor]] = []
            with select_arms(model, names):
                for _ in range(_TRIAL_STEPS):
                    # A recording writes to the same memory at every step.
                    expected, found = growing(tokens).float(), fixed(tokens).float().clone()
                    seen.append((expected, found))
                    tokens = expected.argmax(dim=-1)
            reason = _find_difference(seen, arms=len(arms), dtype=model.dtype, rerouted=may_reroute(model))
            if reason is not None:
                return reason
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # a driver, a compiler or a family that does not fit raises what it likes
        failures.append(error)
    if not failures:
        return None
    first = failures[0]
    return text_note(f"{type(first).__name__}: {' '.join(str(first).split())[:200]}".rstrip(": ."))


def _find_difference(
    seen: Sequence[tuple[torch.Tensor, torch.Tensor]], *, arms: int, dtype: torch.dtype, rerouted: bool
) -> Note | None:
    """Return how far the logits found are from those expected, or None when near enough.

    Each of `seen` is a step's (expected, found), both of shape (rows, vocabulary), arm by arm. Where rows may be
    `rerouted`, a prompt that is never near is still refused: a mask may be wrong for one length alone.
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


def may_reroute(model: Any) -> bool:
    """Return whether rounding may route a token of `model` to another expert: in 16 bits, where it has a router."""
    config = model.config.get_text_config(decoder=True)
    routes = any(getattr(config, key, None) for key in EXPERTS_PER_TOKEN)
    return bool(model.dtype.itemsize < 4 and routes)


def distance(found: torch.Tensor, expected: torch.Tensor, *, rerouted: bool) -> float:
    """Return the largest logit difference of (rows, vocabulary), or NaN; if `rerouted`, but for the worst quarter."""
    import torch

    rows = (found - expected).abs().amax(dim=-1)
    if not bool(rows.isfinite().all()):
        return float("nan")
    kept = len(rows) - (len(rows) // 4 if rerouted else 0)
    return float(torch.sort(rows).values[:kept].max())


def tolerance(dtype: torch.dtype) -> float:
    """Return how far rounding may move logits on another path through the layers, relative to the largest."""
    return _TOLERANCE.get(str(dtype), 1e-4)
