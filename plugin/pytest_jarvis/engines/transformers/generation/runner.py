"""Run one batch through the model: tokens in, tokens and times out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_jarvis.engines.transformers.generation.batching import Batch, BatchMonitor, OnStep, Row, pad_rows
from pytest_jarvis.engines.transformers.generation.sampling import FiniteWatch, GumbelSampler, noise_key
from pytest_jarvis.engines.transformers.generation.steps import (
    FixedSteps,
    GrowingSteps,
    Record,
    causal_model,
    pad_left,
    prefill,
)
from pytest_jarvis.engines.transformers.lora.arms import select_arms
from pytest_jarvis.types import FinishReason, GenerationSettings, Note

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOutput:
    """The generated tokens of a row, and their times."""

    row: Row
    tokens: tuple[int, ...]
    """New tokens, the end mark included."""
    finish_reason: FinishReason
    duration_s: float
    first_token_s: float
    finite: bool
    """Whether the logits of every token were finite."""


class BatchRunner:
    """Generate for batches with rows of any arms, on one set of weights."""

    def __init__(
        self,
        model: Any,
        *,
        settings: GenerationSettings,
        stops: Sequence[int],
        pad: int,
        two_passes: bool,
        shrinks: bool = False,
        fixed: bool = False,
        record: Record | None = None,
    ) -> None:
        """`shrinks` drops rows that are done (needs batch invariance); `fixed` runs `FixedSteps`, with `record`."""
        self._model = model
        self._settings = settings
        self._stops = tuple(stops)
        self._pad = pad
        self._two_passes = two_passes
        self._shrinks = shrinks
        self._fixed = fixed
        self.unrecorded: Note | None = None
        """Why a batch's steps could not be recorded, or None; the texts are the same either way."""
        self._record = record

    def run(self, batch: Batch, *, fill: bool = True, on_step: OnStep | None = None) -> list[RowOutput]:
        """Return the output of each row of `batch`, in order; `fill` adds the rows that batch invariance needs."""
        if not self._two_passes:
            return self._draw(batch, fill=fill, on_step=on_step)
        drawn: list[RowOutput] = []
        for arm in batch.arms():
            part = Batch(rows=tuple(row for row in batch.rows if row.request.arm == arm), length=batch.length)
            drawn += self._draw(part, fill=fill, on_step=_offset_progress(drawn, on_step))
        return drawn

    def _draw(self, batch: Batch, *, fill: bool, on_step: OnStep | None) -> list[RowOutput]:
        import torch

        rows, places = pad_rows(batch) if fill else (list(batch.rows), list(range(len(batch.rows))))
        arms, prompts = [row.request.arm for row in rows], [row.tokens for row in rows]
        device, length = self._model.device, batch.length
        input_ids, mask = pad_left(prompts, length, self._pad, device)
        watch = BatchMonitor(
            prompt_length=length,
            counted=places,
            stops=torch.tensor(self._stops, device=device),
            timeout_s=self._settings.timeout_s,
            on_step=on_step,
        )
        finite = FiniteWatch(prompt_length=length)
        sampler = self._make_sampler(rows, length, device)
        with torch.inference_mode():
            cache = prefill(self._model, arms, prompts, input_ids, mask)
            if cache is None:
                new_tokens = self._generate(arms, input_ids, mask, processors=[finite, *sampler], watch=watch)
            else:
                # A recording costs a few steps, which one response alone would not win back.
                steps = (
                    FixedSteps(self._model, cache, mask, new_tokens=self._settings.max_new_tokens, record=self._record)
                    if self._fixed and fill
                    else GrowingSteps(self._model, cache, mask)
                )
                new_tokens = self._step_through(arms, input_ids, steps, finite=finite, sampler=sampler, watch=watch)
                self.unrecorded = steps.failure or self.unrecorded
        broken = finite.broken_at(len(rows))
        return [self._read(rows[place], new_tokens[place], watch, broken_at=broken[place]) for place in places]

    def _step_through(
        self,
        arms: Sequence[str],
        input_ids: torch.Tensor,
        steps: GrowingSteps | FixedSteps,
        *,
        finite: FiniteWatch,
        sampler: Sequence[GumbelSampler],
        watch: BatchMonitor,
    ) -> list[list[int]]:
        """Return the new tokens of each row, row i run as `arms[i]`: those that transformers' `generate` would give."""
        import torch

        length, stops = input_ids.shape[-1], torch.tensor(self._stops, device=input_ids.device)
        places = list(range(len(arms)))
        new_tokens: dict[int, list[int]] = {}
        if self._shrinks and isinstance(steps, GrowingSteps):
            watch.shrink(arms)
        # Prompts and responses; a response that has ended is continued by padding.
        sequence = torch.nn.functional.pad(input_ids, (0, self._settings.max_new_tokens), value=self._pad)
        ended = torch.zeros(len(arms), dtype=torch.bool, device=input_ids.device)
        width = length
        while True:
            with select_arms(self._model, [arms[place] for place in places]):
                going = True
                while going:
                    logits = finite(sequence[:, :width], steps(sequence[:, width - 1]).float())
                    tokens = sampler[0].choose(logits, position=width - length) if sampler else logits.argmax(dim=-1)
                    sequence[:, width] = torch.where(ended, self._pad, tokens)
                    ended |= torch.isin(tokens, stops)
                    width += 1
                    going = not watch.stops_at(sequence[:, :width])
                    going = going and width < sequence.shape[-1] and not bool(ended.all())
            new_tokens.update(zip(places, sequence[:, length:width].tolist(), strict=True))
            if watch.remaining is None or width == sequence.shape[-1] or isinstance(steps, FixedSteps):
                return [new_tokens[place] for place in range(len(arms))]
            remaining = torch.tensor(watch.remaining, device=input_ids.device)
            places = [places[place] for place in watch.remaining]
            watch.drop_rows(sequence[:, :width])
            finite.keep(remaining)
            for one in sampler:
                one.keep(remaining)
            steps.keep(remaining)
            sequence, ended = sequence[remaining], ended[remaining]

    def _generate(
        self,
        arms: list[str],
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        *,
        processors: Sequence[FiniteWatch | GumbelSampler],
        watch: BatchMonitor,
    ) -> list[list[int]]:
        """Return each row's new tokens by transformers' own loop, for models that keep more than keys and values."""
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        # All of the settings: nothing comes from the model's own.
        generation_config = GenerationConfig(
            max_new_tokens=self._settings.max_new_tokens,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            eos_token_id=list(self._stops) or None,
            pad_token_id=self._pad,
        )
        with select_arms(self._model, arms):
            output: torch.Tensor = causal_model(self._model).generate(
                input_ids=input_ids,
                attention_mask=attention_mask,
                generation_config=generation_config,
                logits_processor=LogitsProcessorList(processors),
                stopping_criteria=StoppingCriteriaList([watch]),
            )
        new_tokens: list[list[int]] = output[:, input_ids.shape[-1] :].tolist()
        return new_tokens

    def _make_sampler(self, rows: Sequence[Row], length: int, device: torch.device) -> list[GumbelSampler]:
        import torch

        settings = self._settings
        if settings.is_greedy:
            return []
        keys = [noise_key(settings.seed, row.request.prompt_id, row.request.replicate) for row in rows]
        return [
            GumbelSampler(
                torch.tensor(keys, dtype=torch.int64, device=device),
                prompt_length=length,
                temperature=settings.temperature,
                top_p=settings.top_p,
            )
        ]

    def _read(self, row: Row, tokens: list[int], watch: BatchMonitor, *, broken_at: int | None) -> RowOutput:
        end = next((place for place, token in enumerate(tokens, 1) if token in self._stops), None)
        count = len(tokens) if end is None else end
        reason: FinishReason = "stop" if end is not None else "timeout" if watch.timed_out else "length"
        if watch.timed_out and count == self._settings.max_new_tokens and end is None:
            reason = "length"
        return RowOutput(
            row=row,
            tokens=tuple(tokens[:count]),
            finish_reason=reason,
            duration_s=watch.step_times[count - 1],
            first_token_s=watch.step_times[0],
            finite=broken_at is None or broken_at >= count,
        )


def _offset_progress(drawn: Sequence[RowOutput], on_step: OnStep | None) -> OnStep | None:
    if on_step is None:
        return None
    rows, tokens = len(drawn), sum(len(one.tokens) for one in drawn)
    return lambda finished, new: on_step(rows + finished, tokens + new)
