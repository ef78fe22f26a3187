"""Forward passes that are not generation: the logits after a prompt, and the hidden states of a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.footprint import EXPERTS_PER_TOKEN
from pytest_jarvis.engines.transformers.generation.batching import STEADY_ROWS, padded_length
from pytest_jarvis.engines.transformers.generation.steps import accepted, causal_model, pad_left
from pytest_jarvis.engines.transformers.lora.arms import as_arms, only
from pytest_jarvis.types import BASE_ARM

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch


_ROWS_AT_ONCE: Final = 64


def last_logits(model: Any, prompts: Sequence[Sequence[int]], arms: Sequence[str], *, pad: int) -> torch.Tensor:
    """Return the logits of the token after each prompt, float32 of shape (prompts, vocabulary), prompt i as `arms[i]`.

    Arms that differ run in one batch through peft's `adapter_names`.
    """
    import torch

    rows: list[Sequence[int]] = []
    names: list[str] = []
    places: dict[int, int] = {}
    for arm in dict.fromkeys(arms):
        # An arm's rows stand together, with those that only steady the arithmetic.
        own = [index for index, name in enumerate(arms) if name == arm]
        places.update({index: len(rows) + place for place, index in enumerate(own)})
        rows += [prompts[index] for index in own] + [prompts[own[0]]] * (STEADY_ROWS - len(own))
        names += [arm] * max(STEADY_ROWS, len(own))
    with torch.inference_mode(), as_arms(model, names):
        causal = causal_model(model)
        inputs = _inputs(causal, rows, pad=pad, device=model.device)
        with _closed_up(causal):
            logits: torch.Tensor = causal(**inputs, **accepted(causal, logits_to_keep=1), use_cache=False).logits
    return logits[[places[index] for index in range(len(prompts))], -1].float()


def greedy_tokens(model: Any, sequences: Sequence[Sequence[int]], *, pad: int, first: int) -> list[list[int]]:
    """Return the most probable token after each token of the `first` sequences, by the base, all in one batch.

    None of it for a family without a head that can be asked for.
    """
    import torch

    with torch.inference_mode(), only(model, BASE_ARM):
        causal = causal_model(model)
        head = causal.get_output_embeddings()
        if head is None:
            return []
        inputs = _inputs(causal.base_model, sequences, pad=pad, device=model.device)
        states = causal.base_model(**inputs, use_cache=False).last_hidden_state
        return [
            head(states[row, -len(sequence) :]).argmax(dim=-1).tolist()
            for row, sequence in enumerate(sequences[:first])
        ]


@contextmanager
def _closed_up(causal: Any) -> Iterator[None]:
    """Have the head multiply all rows at once, as it does at every step of a batch.

    The hidden states of the last tokens alone have gaps between them: torch would multiply row by row and read the head
    anew for each, 7 times as long on a CPU (26 rows, 151,936 tokens).
    """
    head = causal.get_output_embeddings()
    if head is None:
        yield
        return
    handle = head.register_forward_pre_hook(lambda _head, inputs: (inputs[0].contiguous(), *inputs[1:]))
    try:
        yield
    finally:
        handle.remove()


def embed_tokens(model: Any, texts: Sequence[Sequence[int]], *, pad: int) -> list[npt.NDArray[np.float32] | None]:
    """Return, for each text, the mean over its tokens of the last hidden states of the base, adapters off.

    A vector has shape (hidden,); a text of no token has none. Padding never enters a mean.
    """
    vectors: list[npt.NDArray[np.float32] | None] = [None] * len(texts)
    for places in _by_length(texts):
        for place, vector in zip(places, _mean_states(model, [texts[place] for place in places], pad=pad), strict=True):
            vectors[place] = vector
    return vectors


def _mean_states(model: Any, texts: Sequence[Sequence[int]], *, pad: int) -> npt.NDArray[np.float32]:
    """Return the means of one batch, float32 of shape (texts, hidden)."""
    import torch

    with torch.inference_mode(), only(model, BASE_ARM):
        inner = causal_model(model).base_model
        inputs = _inputs(inner, texts, pad=pad, device=model.device)
        states = inner(**inputs, use_cache=False).last_hidden_state.float()
        means = [states[row, -len(text) :].mean(dim=0) for row, text in enumerate(texts)]
        found: npt.NDArray[np.float32] = torch.stack(means).cpu().numpy()
    return found


def _by_length(texts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the places of the texts that run together: like lengths, at most `_ROWS_AT_ONCE`, empty ones left out."""
    order = sorted((place for place, text in enumerate(texts) if text), key=lambda place: len(texts[place]))
    for start in range(0, len(order), _ROWS_AT_ONCE):
        yield order[start : start + _ROWS_AT_ONCE]


def _inputs(model: Any, sequences: Sequence[Sequence[int]], *, pad: int, device: torch.device) -> dict[str, Any]:
    """Return the inputs of `model` for sequences padded on the left.

    Positions are counted from each one's first token; a family whose forward takes none counts them itself.
    """
    length = max(padded_length(len(sequence)) for sequence in sequences)
    input_ids, attention_mask = pad_left(sequences, length, pad, device)
    positions = (attention_mask.cumsum(dim=-1) - 1).clamp(min=0)
    return {"input_ids": input_ids, "attention_mask": attention_mask, **accepted(model, position_ids=positions)}


_TOLERANCE: Final = {"torch.float32": 1e-4, "torch.float16": 2e-2, "torch.bfloat16": 1e-1}
"""How far a device's rounding may take the mixed batch from separate passes, steps of fixed length from growing ones,
and an arm from what it gave before others were attached, relative to the largest logit."""


def may_reroute(model: Any) -> bool:
    """Tell whether rounding may send a token of `model` to another expert: in 16 bits, where it has a router."""
    config = model.config.get_text_config(decoder=True)
    routes = any(getattr(config, key, None) for key in EXPERTS_PER_TOKEN)
    return bool(model.dtype.itemsize < 4 and routes)


def distance(found: torch.Tensor, expected: torch.Tensor, *, rerouted: bool) -> float:
    """Return how far logits of shape (rows, vocabulary) are from those expected, by the largest difference of a logit.

    Where rows may be `rerouted`, a quarter of them is set aside: a token that rounding sends to another expert moves
    all logits of its row, now and then. Not a number where any difference is none.
    """
    import torch

    rows = (found - expected).abs().amax(dim=-1)
    # Of tensors: Python's own maximum passes over what is not a number.
    if not bool(rows.isfinite().all()):
        return float("nan")
    kept = len(rows) - (len(rows) // 4 if rerouted else 0)
    return float(torch.sort(rows).values[:kept].max())


def tolerance(dtype: torch.dtype) -> float:
    """Return how far rounding may take logits that another path through the layers gives, relative to the largest."""
    return _TOLERANCE.get(str(dtype), 1e-4)
