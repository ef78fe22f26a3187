"""One batch through the model: tokens in, tokens and times out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_jarvis.engines.transformers.generation.batching import Batch, OnStep, Row, Watch, steadied
from pytest_jarvis.engines.transformers.generation.sampling import FiniteWatch, NoisyChoice, noise_key
from pytest_jarvis.engines.transformers.generation.steps import (
    FixedSteps,
    GrowingSteps,
    Record,
    Steps,
    causal_model,
    pad_left,
    prefill,
)
from pytest_jarvis.engines.transformers.lora.arms import as_arms
from pytest_jarvis.types import FinishReason, GenerationSettings, Note

if TYPE_CHECKING:
    import torch


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
        fixed: bool = False,
        record: Record | None = None,
    ) -> None:
        """`shrinks` lets rows that are done leave their batch: for arithmetic that does not change with the others.

        `fixed` has a batch run in steps of fixed length, which are recorded by `record` when it is given.
        """
        self._model = model
        self._settings = settings
        self._stops = tuple(stops)
        self._pad = pad
        self._two_passes = two_passes
        self._shrinks = shrinks
        self._fixed = fixed
        self.unrecorded: Note | None = None
        """Why a batch's steps could not be recorded, when they could not; its texts are the same."""
        self._record = record

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

        rows, places = steadied(batch) if fill else (list(batch.rows), list(range(len(batch.rows))))
        arms, prompts = [row.request.arm for row in rows], [row.tokens for row in rows]
        device, length = self._model.device, batch.length
        input_ids, mask = pad_left(prompts, length, self._pad, device)
        watch = Watch(
            prompt_length=length,
            counted=places,
            stops=torch.tensor(self._stops, device=device),
            timeout_s=self._settings.timeout_s,
            on_step=on_step,
        )
        finite = FiniteWatch(prompt_length=length)
        choice = self._choice(rows, length, device)
        with torch.inference_mode():
            cache = prefill(self._model, arms, prompts, input_ids, mask)
            if cache is None:
                new_tokens = self._generate(arms, input_ids, mask, processors=[finite, *choice], watch=watch)
            else:
                # A recording costs a few steps, which one response by itself would not win back.
                steps = self._steps(cache, mask, fixed=self._fixed and fill)
                new_tokens = self._step_through(arms, input_ids, steps, finite=finite, choice=choice, watch=watch)
                self.unrecorded = steps.failure or self.unrecorded
        broken = finite.broken_at(len(rows))
        return [self._read(rows[place], new_tokens[place], watch, broken_at=broken[place]) for place in places]

    def _steps(self, cache: Any, mask: torch.Tensor, *, fixed: bool) -> Steps:
        """Return the steps of a batch whose prompts, padded as `mask` says, are in `cache` but for their last token."""
        if not fixed:
            return GrowingSteps(self._model, cache, mask)
        new_tokens = self._settings.max_new_tokens
        return FixedSteps(self._model, cache, mask, new_tokens=new_tokens, record=self._record)

    def _step_through(
        self,
        arms: Sequence[str],
        input_ids: torch.Tensor,
        steps: Steps,
        *,
        finite: FiniteWatch,
        choice: Sequence[NoisyChoice],
        watch: Watch,
    ) -> list[list[int]]:
        """Return the new tokens of each row, row i running as `arms[i]`: those that `generate` would draw."""
        import torch

        length, stops = input_ids.shape[-1], torch.tensor(self._stops, device=input_ids.device)
        places = list(range(len(arms)))
        new_tokens: dict[int, list[int]] = {}
        if self._shrinks and steps.shrinks:
            watch.shrink(arms)
        # Tokens of prompts and answers; what an answer that has ended draws is padding.
        sequence = torch.nn.functional.pad(input_ids, (0, self._settings.max_new_tokens), value=self._pad)
        ended = torch.zeros(len(arms), dtype=torch.bool, device=input_ids.device)
        width = length
        while True:
            with as_arms(self._model, [arms[place] for place in places]):
                going = True
                while going:
                    logits = finite(sequence[:, :width], steps(sequence[:, width - 1]).float())
                    tokens = choice[0].choose(logits, position=width - length) if choice else logits.argmax(dim=-1)
                    sequence[:, width] = torch.where(ended, self._pad, tokens)
                    ended |= torch.isin(tokens, stops)
                    width += 1
                    going = not watch.stops_at(sequence[:, :width])
                    going = going and width < sequence.shape[-1] and not bool(ended.all())
            new_tokens.update(zip(places, sequence[:, length:width].tolist(), strict=True))
            if watch.staying is None or width == sequence.shape[-1]:
                return [new_tokens[place] for place in range(len(arms))]
            staying = torch.tensor(watch.staying, device=input_ids.device)
            places = [places[place] for place in watch.staying]
            watch.go_on(sequence[:, :width])
            finite.keep(staying)
            for one in choice:
                one.keep(staying)
            steps.keep(staying)
            sequence, ended = sequence[staying], ended[staying]

    def _generate(
        self,
        arms: list[str],
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        *,
        processors: Sequence[FiniteWatch | NoisyChoice],
        watch: Watch,
    ) -> list[list[int]]:
        """Return the new tokens of each row, by transformers' own loop: for what keeps more than keys and values."""
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        # The whole of what `generate` is told: nothing comes from the model's own generation settings.
        told = GenerationConfig(
            max_new_tokens=self._settings.max_new_tokens,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            eos_token_id=list(self._stops) or None,
            pad_token_id=self._pad,
        )
        with as_arms(self._model, arms):
            output: torch.Tensor = causal_model(self._model).generate(
                input_ids=input_ids,
                attention_mask=attention_mask,
                generation_config=told,
                logits_processor=LogitsProcessorList(processors),
                stopping_criteria=StoppingCriteriaList([watch]),
            )
        new_tokens: list[list[int]] = output[:, input_ids.shape[-1] :].tolist()
        return new_tokens

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


def _after(drawn: Sequence[Drawn], on_step: OnStep | None) -> OnStep | None:
    """Return `on_step` counting what earlier passes of the batch drew."""
    if on_step is None:
        return None
    rows, tokens = len(drawn), sum(len(one.tokens) for one in drawn)
    return lambda finished, new: on_step(rows + finished, tokens + new)
