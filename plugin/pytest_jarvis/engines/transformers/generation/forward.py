"""Single forward passes: the logits after a prompt, and embeddings of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.generation.batching import INVARIANT_ROWS, padded_length
from pytest_jarvis.engines.transformers.generation.steps import causal_model, filter_inputs, pad_left
from pytest_jarvis.engines.transformers.lora.arms import select_arm, select_arms
from pytest_jarvis.types import BASE_ARM

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch


_ROWS_AT_ONCE: Final = 64


def last_logits(model: Any, prompts: Sequence[Sequence[int]], arms: Sequence[str], *, pad: int) -> torch.Tensor:
    """Return the logits after each prompt, float32 of shape (prompts, vocabulary), with prompt i run as `arms[i]`."""
    import torch

    rows: list[Sequence[int]] = []
    names: list[str] = []
    places: dict[int, int] = {}
    for arm in dict.fromkeys(arms):
        # An arm's rows stand together, with their padding rows.
        own = [index for index, name in enumerate(arms) if name == arm]
        places.update({index: len(rows) + place for place, index in enumerate(own)})
        rows += [prompts[index] for index in own] + [prompts[own[0]]] * (INVARIANT_ROWS - len(own))
        names += [arm] * max(INVARIANT_ROWS, len(own))
    with torch.inference_mode(), select_arms(model, names):
        causal = causal_model(model)
        inputs = _inputs(causal, rows, pad=pad, device=model.device)
        with _closed_up(causal):
            logits: torch.Tensor = causal(**inputs, **filter_inputs(causal, logits_to_keep=1), use_cache=False).logits
    return logits[[places[index] for index in range(len(prompts))], -1].float()


def greedy_tokens(model: Any, sequences: Sequence[Sequence[int]], *, pad: int, first: int) -> list[list[int]]:
    """Return the base's likeliest token after each token of the `first` sequences; empty without a known head."""
    import torch

    with torch.inference_mode(), select_arm(model, BASE_ARM):
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
    """Make the head's input contiguous: torch would else multiply row by row, 7 times as long on a CPU."""
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
    """Return each text's embedding, shape (hidden,): the mean of the base's last hidden states; None for no token."""
    vectors: list[npt.NDArray[np.float32] | None] = [None] * len(texts)
    for places in _by_length(texts):
        for place, vector in zip(places, _mean_states(model, [texts[place] for place in places], pad=pad), strict=True):
            vectors[place] = vector
    return vectors


def _mean_states(model: Any, texts: Sequence[Sequence[int]], *, pad: int) -> npt.NDArray[np.float32]:
    """Return the means of one batch, float32 of shape (texts, hidden)."""
    import torch

    with torch.inference_mode(), select_arm(model, BASE_ARM):
        inner = causal_model(model).base_model
        inputs = _inputs(inner, texts, pad=pad, device=model.device)
        states = inner(**inputs, use_cache=False).last_hidden_state.float()
        means = [states[row, -len(text) :].mean(dim=0) for row, text in enumerate(texts)]
        found: npt.NDArray[np.float32] = torch.stack(means).cpu().numpy()
    return found


def _by_length(texts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the places of at most `_ROWS_AT_ONCE` texts of similar length that run together, without empty ones."""
    order = sorted((place for place, text in enumerate(texts) if text), key=lambda place: len(texts[place]))
    for start in range(0, len(order), _ROWS_AT_ONCE):
        yield order[start : start + _ROWS_AT_ONCE]


def _inputs(model: Any, sequences: Sequence[Sequence[int]], *, pad: int, device: torch.device) -> dict[str, Any]:
    """Return the inputs of `model` for sequences padded on the left, positions counted from each one's first token."""
    length = max(padded_length(len(sequence)) for sequence in sequences)
    input_ids, attention_mask = pad_left(sequences, length, pad, device)
    positions = (attention_mask.cumsum(dim=-1) - 1).clamp(min=0)
    return {"input_ids": input_ids, "attention_mask": attention_mask, **filter_inputs(model, position_ids=positions)}
