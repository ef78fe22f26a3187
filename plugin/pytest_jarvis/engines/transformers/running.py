"""One batch through the model: tokens in, tokens and times out."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_jarvis.engines.transformers.arms import as_arms
from pytest_jarvis.engines.transformers.batching import Batch, Row, filler_rows, rows_to_keep
from pytest_jarvis.engines.transformers.sampling import FiniteWatch, NoisyChoice, noise_key
from pytest_jarvis.records import FinishReason, GenerationSettings

if TYPE_CHECKING:
    import torch

PROGRESS_EVERY_S = 0.1
LEAVING_SHARE = 0.25
"""Share of the rows that must be able to leave before a batch goes on without them: to leave costs about two steps."""
OnStep = Callable[[int, int], None]
"""Called with (rows finished, tokens drawn) of the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a row drew."""

    row: Row
    tokens: tuple[int, ...]
    """New tokens, the end mark included."""
    finish_reason: FinishReason
    duration_s: float
    first_token_s: float
    finite: bool
    """Whether every token was drawn from logits that are numbers."""


class Watch:
    """A stopping criterion that notes when each token came and how far the batch is, and stops it in time.

    With `shrink` it also stops when enough rows are done to go on without them: `staying` then holds the places of the
    rows to go on with, among those that run, and is None when the batch has come to its end.
    """

    def __init__(
        self, *, prompt_length: int, rows: int, stops: torch.Tensor, timeout_s: float | None, on_step: OnStep | None
    ) -> None:
        self.started = time.perf_counter()
        self.step_times: list[float] = []
        self.timed_out = False
        self.staying: list[int] | None = None
        self._prompt_length = prompt_length
        self._rows = rows
        self._stops = stops
        self._timeout_s = timeout_s
        self._on_step = on_step
        self._told = self.started
        self._arms: list[str] | None = None
        self._over: list[bool] = []
        self._gone = (0, 0)

    def shrink(self, arms: Sequence[str]) -> None:
        """Stop, from now on, when enough of the rows, which run as `arms`, are done."""
        self._arms = list(arms)
        self._over = [False] * len(self._arms)

    def go_on(self, input_ids: torch.Tensor) -> None:
        """Go on with the rows that are `staying`; `input_ids` are those of all rows that ran."""
        staying = self.staying or []
        here = range(min(self._rows, len(input_ids)))
        left = [place for place in here if place not in set(staying)]
        rows, tokens = self._count(input_ids[left, self._prompt_length :])
        self._gone = (self._gone[0] + rows, self._gone[1] + tokens)
        self._rows = sum(place < self._rows for place in staying)
        self._over = [self._over[place] for place in staying]
        self._arms = [self._arms[place] for place in staying] if self._arms is not None else None
        self.staying = None

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        """Return, for each row, whether it must stop now."""
        if input_ids.is_cuda:
            import torch

            torch.cuda.synchronize(input_ids.device)  # what is launched is not computed yet
        now = time.perf_counter()
        self.step_times.append(now - self.started)
        self.timed_out = self._timeout_s is not None and now - self.started > self._timeout_s
        if self._on_step is not None and now - self._told >= PROGRESS_EVERY_S:
            self._told = now
            rows, tokens = self._count(input_ids[: self._rows, self._prompt_length :])
            self._on_step(self._gone[0] + rows, self._gone[1] + tokens)
        self.staying = None if self.timed_out else self._who_stays(input_ids)
        stop = self.timed_out or self.staying is not None
        return input_ids.new_full((len(input_ids),), stop, dtype=self._stops.dtype).bool()

    def _who_stays(self, input_ids: torch.Tensor) -> list[int] | None:
        """Return the rows to go on with, or None when it is not worth it to leave any behind, or nothing is left."""
        import torch

        if self._arms is None:
            return None
        ended = torch.isin(input_ids[:, -1], self._stops).tolist()
        self._over = [over or end for over, end in zip(self._over, ended, strict=True)]
        most = int(len(self._over) * (1 - LEAVING_SHARE))
        if len(self._over) - sum(self._over) > most:
            return None
        staying = rows_to_keep(self._arms, self._over)
        return staying if 0 < len(staying) <= most else None

    def _count(self, new_tokens: torch.Tensor) -> tuple[int, int]:
        """Return (rows finished, tokens drawn) for the new tokens so far, (rows, tokens)."""
        import torch

        ended = torch.isin(new_tokens, self._stops)
        before_end = (ended.cumsum(dim=-1) - ended.long()) == 0
        return int(ended.any(dim=-1).sum()), int(before_end.sum())


class BatchRunner:
    """Draws the answers of a batch of rows of any arms, on one set of weights."""

    def __init__(
        self,
        model: Any,
        *,
        settings: GenerationSettings,
        stops: Sequence[int],
        pad: int,
        two_passes: bool,
        shrinks: bool = False,
    ) -> None:
        """`shrinks` lets rows that are done leave their batch: for arithmetic that does not change with the others."""
        self._model = model
        self._settings = settings
        self._stops = tuple(stops)
        self._pad = pad
        self._two_passes = two_passes
        self._shrinks = shrinks

    def run(self, batch: Batch, *, fill: bool = True, on_step: OnStep | None = None) -> list[Drawn]:
        """Return what each row of `batch` drew, in the order of its rows.

        `fill` adds the rows that keep the arithmetic steady; they cost memory and are thrown away.
        """
        if not self._two_passes:
            return self._draw(batch, fill=fill, on_step=on_step)
        drawn: list[Drawn] = []
        for arm in batch.arms():
            part = Batch(rows=tuple(row for row in batch.rows if row.request.arm == arm), length=batch.length)
            drawn += self._draw(part, fill=fill, on_step=_after(drawn, on_step))
        return drawn

    def _draw(self, batch: Batch, *, fill: bool, on_step: OnStep | None) -> list[Drawn]:
        """Return what the rows of `batch` drew, all of them run together."""
        import torch

        rows = [*batch.rows, *(filler_rows(batch) if fill else ())]
        device, length, kept = self._model.device, batch.length, len(batch.rows)
        input_ids, attention_mask = pad_left([row.tokens for row in rows], length, self._pad, device)
        watch = Watch(
            prompt_length=length,
            rows=kept,
            stops=torch.tensor(self._stops, device=device),
            timeout_s=self._settings.timeout_s,
            on_step=on_step,
        )
        finite = FiniteWatch(prompt_length=length)
        processors: list[FiniteWatch | NoisyChoice] = [finite, *self._choice(rows, length, device)]
        new_tokens: dict[int, list[int]] = {}
        with torch.inference_mode():
            cache = self._prefill(rows, input_ids, attention_mask)
            if self._shrinks and cache is not None:
                watch.shrink([row.request.arm for row in rows])
            places = list(range(len(rows)))
            while True:
                output = self._generate(
                    [rows[place].request.arm for place in places],
                    input_ids,
                    attention_mask,
                    cache,
                    processors=processors,
                    watch=watch,
                    left=self._settings.max_new_tokens - (input_ids.shape[-1] - length),
                )
                new_tokens.update(zip(places, output[:, length:].tolist(), strict=True))
                if watch.staying is None:
                    break
                staying = torch.tensor(watch.staying, device=device)
                places = [places[place] for place in watch.staying]
                watch.go_on(output)
                for processor in processors:
                    processor.keep(staying)
                drawn = output.shape[-1] - attention_mask.shape[-1]
                attention_mask = torch.nn.functional.pad(attention_mask, (0, drawn), value=1)[staying]
                input_ids = output[staying]
                cache.batch_select_indices(staying)
        broken = finite.broken_at(kept)
        return [
            self._read(row, new_tokens[place], watch, broken_at=position)
            for place, (row, position) in enumerate(zip(batch.rows, broken, strict=True))
        ]

    def _generate(
        self,
        arms: list[str],
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        cache: Any,
        *,
        processors: Sequence[FiniteWatch | NoisyChoice],
        watch: Watch,
        left: int,
    ) -> torch.Tensor:
        """Return the rows' tokens, prompts first, after at most `left` more of each; row i runs as `arms[i]`."""
        from transformers import LogitsProcessorList, StoppingCriteriaList

        with as_arms(self._model, arms):
            output: torch.Tensor = causal_model(self._model).generate(
                input_ids=input_ids,
                attention_mask=attention_mask,
                past_key_values=cache,
                generation_config=self._generation_config(left),
                logits_processor=LogitsProcessorList(processors),
                stopping_criteria=StoppingCriteriaList([watch]),
            )
        return output

    def _prefill(self, rows: Sequence[Row], input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        """Return the keys and values of all tokens of the prompts but the last, each prompt of an arm computed once.

        Replicates share their prompt. The last token is left to `generate`, which needs one to start from. None when
        the model keeps more than keys and values, which cannot be shared out this way: `generate` then does it all.
        """
        import torch
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        places: dict[tuple[str, tuple[int, ...]], int] = {}
        source = [places.setdefault((row.request.arm, row.tokens), len(places)) for row in rows]
        cache = DynamicCache(config=self._model.config)
        if any(type(layer) is not DynamicLayer for layer in cache.layers):
            return None
        firsts = [source.index(place) for place in range(len(places))]
        positions = (attention_mask[firsts].cumsum(dim=-1) - 1).clamp(min=0)
        with as_arms(self._model, [rows[first].request.arm for first in firsts]):
            inner = causal_model(self._model).base_model
            inner(
                input_ids=input_ids[firsts],
                attention_mask=attention_mask[firsts],
                past_key_values=cache,
                use_cache=True,
                **accepted(inner, position_ids=positions),
            )
        # The whole prompt runs, so that its length stays a multiple that keeps attention steady; its last token goes.
        cache.crop(-1)
        cache.reorder_cache(torch.tensor(source, device=input_ids.device))
        return cache

    def _choice(self, rows: Sequence[Row], length: int, device: torch.device) -> list[NoisyChoice]:
        """Return the processor that samples, or none for greedy answers."""
        import torch

        settings = self._settings
        if settings.is_greedy:
            return []
        keys = [noise_key(settings.seed, row.request.prompt_id, row.request.replicate) for row in rows]
        return [
            NoisyChoice(
                torch.tensor(keys, dtype=torch.int64, device=device),
                prompt_length=length,
                temperature=settings.temperature,
                top_p=settings.top_p,
            )
        ]

    def _generation_config(self, max_new_tokens: int) -> Any:
        """Return the whole of what `generate` is told: nothing comes from the model's own generation settings."""
        from transformers import GenerationConfig

        return GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            eos_token_id=list(self._stops) or None,
            pad_token_id=self._pad,
        )

    def _read(self, row: Row, tokens: list[int], watch: Watch, *, broken_at: int | None) -> Drawn:
        """Return what a row drew, cut after its end mark, with its own times."""
        end = next((place for place, token in enumerate(tokens, 1) if token in self._stops), None)
        count = len(tokens) if end is None else end
        reason: FinishReason = "stop" if end is not None else "timeout" if watch.timed_out else "length"
        if watch.timed_out and count == self._settings.max_new_tokens and end is None:
            reason = "length"
        return Drawn(
            row=row,
            tokens=tuple(tokens[:count]),
            finish_reason=reason,
            duration_s=watch.step_times[count - 1],
            first_token_s=watch.step_times[0],
            finite=broken_at is None or broken_at >= count,
        )


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


def _after(drawn: Sequence[Drawn], on_step: OnStep | None) -> OnStep | None:
    """Return `on_step` counting what earlier passes of the batch drew."""
    if on_step is None:
        return None
    rows, tokens = len(drawn), sum(len(one.tokens) for one in drawn)
    return lambda finished, new: on_step(rows + finished, tokens + new)
