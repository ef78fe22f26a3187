"""One step of a batch: the next token's logits from the last one's, with the keys and values of what came before.

On a CPU the keys and values grow by a token a step, and rows may leave. On a GPU a step of Qwen3-30B-A3B launches a
kernel for each of some 5,800 operations, which takes the processor longer than the GPU should need to run them. There
the keys and values have the length they will have at the end, so that every step is the same launches, recorded once as
a CUDA graph and replayed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from pytest_jarvis.engines.transformers.lora.arms import as_arms
from pytest_jarvis.types import Note, text_note

if TYPE_CHECKING:
    import torch


Step = Callable[[], "torch.Tensor"]
Record = Callable[[Step], Step]
"""Takes a step that has been run before, and returns what runs it again from then on."""
_UNRECORDED: Final = 2
"""Steps that run before one is recorded: kernels are compiled and libraries take their memory at the first."""
_LENGTH_STEP: Final = 16
"""Lengths are rounded up to a multiple of this, as kernels of attention want their masks."""


class Steps(Protocol):
    """The steps of one batch, from the last token of its prompts on. Who runs as what is said around them."""

    shrinks: bool
    """Whether rows may leave."""
    failure: Note | None

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after `tokens`, int64 of shape (rows,): (rows, vocabulary)."""
        ...

    def keep(self, places: torch.Tensor) -> None:
        """Go on with the rows at `places` only, int64 of shape (rows left,)."""
        ...


class GrowingSteps:
    """Steps whose keys and values grow."""

    shrinks = True
    failure: Note | None = None

    def __init__(self, model: Any, cache: Any, attention_mask: torch.Tensor) -> None:
        """`cache` holds all tokens of the prompts but the last; `attention_mask` is (rows, length of the prompts)."""
        self._causal = causal_model(model)
        self._cache = cache
        self._mask = attention_mask
        self._fresh = True

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after `tokens`."""
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
        """Go on with the rows at `places` only."""
        self._mask = self._mask[places]
        # Not `batch_select_indices`: this one takes the places to each layer's device.
        self._cache.reorder_cache(places)


class FixedSteps:
    """Steps whose keys and values stand in buffers of their final length; recorded when `record` is given."""

    shrinks = False

    def __init__(
        self,
        model: Any,
        cache: Any,
        attention_mask: torch.Tensor,
        *,
        new_tokens: int,
        record: Record | None,
    ) -> None:
        """`cache` and `attention_mask` are those of `GrowingSteps`; the cache is emptied into the buffers."""
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
        """Why a step could not be recorded; the steps then went on one by one."""

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after `tokens`; they stay as they are until the next call."""
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
        """Return the recorded step, or None when recording fails: nothing has run, and steps go on one by one."""
        import torch

        try:
            return record(self._step)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.failure = text_note(" ".join(str(error).split())[:200].rstrip(".") or type(error).__name__)
            self._record = None
            return None

    def keep(self, places: torch.Tensor) -> None:  # noqa: ARG002  # as every kind of steps
        """Raise ValueError: a recorded step has the rows it was recorded with."""
        raise ValueError("rows cannot leave a batch whose steps are fixed")

    def _step(self) -> torch.Tensor:
        return _logits(
            self._causal,
            self._tokens,
            attention_mask=self._mask,
            position_ids=self._positions,
            cache=self._cache,
        )


def prefill(
    model: Any, arms: Sequence[str], prompts: Sequence[Sequence[int]], input_ids: torch.Tensor, mask: torch.Tensor
) -> Any:
    """Return the keys and values of all tokens of the prompts but the last, each prompt of an arm computed once.

    `input_ids` and `mask` are the padded `prompts`. Replicates share their prompt; the last token is left to the first
    step. None when the model keeps more than keys and values, which cannot be shared out this way.
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
    with as_arms(model, [arms[first] for first in firsts]):
        inner = causal_model(model).base_model
        inner(
            input_ids=input_ids[firsts],
            attention_mask=mask[firsts],
            past_key_values=cache,
            use_cache=True,
            **accepted(inner, position_ids=positions),
        )
    # The whole prompt runs, so that its length stays a multiple that keeps attention steady; its last token goes.
    cache.crop(-1)
    cache.reorder_cache(torch.tensor(source, device=input_ids.device))
    return cache


def _fixed_cache(config: Any, cache: Any, total: int) -> Any:
    """Return a cache of `total` tokens that begins with what `cache` holds; a layer at a time is there twice."""
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
        **accepted(causal, position_ids=position_ids, logits_to_keep=1),
    )
    logits: torch.Tensor = output.logits[:, -1]
    return logits


def causal_model(model: Any) -> Any:
    """Return the transformers model inside a peft model, or `model` itself."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def accepted(model: Any, **inputs: Any) -> dict[str, Any]:
    """Return those of `inputs` that the forward of `model` names; what it only gathers, some families refuse."""
    named = _names_of(type(model).forward)
    return {name: value for name, value in inputs.items() if name in named}


@functools.cache
def _names_of(forward: Callable[..., Any]) -> frozenset[str]:
    """Return the names of a forward's parameters."""
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
