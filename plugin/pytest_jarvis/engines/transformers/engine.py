"""The transformers engine: one base, its adapters, and the responses of every arm from the same weights."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pytest_jarvis.engines.base import PROBES, Digest, OnProgress
from pytest_jarvis.engines.transformers import proof
from pytest_jarvis.engines.transformers.generation import steps
from pytest_jarvis.engines.transformers.generation.batching import (
    Batch,
    Meter,
    OnStep,
    Row,
    make_batch,
    padded_length,
    plan_batches,
)
from pytest_jarvis.engines.transformers.generation.forward import embed_tokens, last_logits
from pytest_jarvis.engines.transformers.generation.memory import (
    device_memory,
    device_name,
    fastest_threads,
    reset_peak_memory,
    row_cache_bytes,
    rows_in_time,
    rows_that_fit,
    threads,
)
from pytest_jarvis.engines.transformers.generation.runner import BatchRunner, RowOutput
from pytest_jarvis.engines.transformers.loading import base as loading
from pytest_jarvis.engines.transformers.loading.base import explain_trial_errors, torch_memory_errors
from pytest_jarvis.engines.transformers.loading.chat import Chat, compare_templates
from pytest_jarvis.engines.transformers.loading.sources import (
    BaseFiles,
    IdentityBuilder,
    dequantize_gguf,
    device_kinds,
    find_source,
    is_small,
    list_files,
    refuse_missing_packages,
    template_digest,
)
from pytest_jarvis.engines.transformers.lora.attach import rehearse, unknown_keys
from pytest_jarvis.engines.transformers.lora.files import AdapterFiles, read_adapters, refuse_changed, refuse_other_base
from pytest_jarvis.engines.transformers.nf4.compute import (
    find_packed_experts,
    use_dequantized_weights,
    use_packed_experts,
)
from pytest_jarvis.engines.transformers.nf4.coverage import measure_coverage, refuse_storage
from pytest_jarvis.engines.transformers.nf4.experts import use_batch_invariant_experts
from pytest_jarvis.engines.transformers.proof import Probes, attach_and_prove
from pytest_jarvis.types import (
    BASE_ARM,
    AdapterProof,
    EngineDescription,
    Failure,
    GenerationSettings,
    Identity,
    ModelSpec,
    Note,
    NoteCode,
    Request,
    Response,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase


_AS_ASKED: Final = Note("plain_as_asked")
_NO_MEMORY: Final = Note("out_of_memory")


class TransformersEngine:
    """Loads the base once, proves the adapters and answers for every arm; EngineError for what cannot be used."""

    def __init__(self, spec: ModelSpec, settings: GenerationSettings) -> None:
        self._spec = spec
        self._settings = settings
        refuse_missing_packages()
        self._source = find_source(spec)
        with loading.quiet_libraries(spec.log_level):
            self._gguf_types = dequantize_gguf(self._source)
        base_files = list_files(Path(self._source.location))
        files = read_adapters(spec.adapters, allow_inert=spec.allow_inert_adapter)
        with loading.quiet_libraries(spec.log_level):
            self._load(files)
        for adapter in files:
            refuse_changed(adapter)
        self._identities = IdentityBuilder(
            base=BaseFiles(location=self._source.location, files=base_files, commit=self._base.commit),
            adapters={adapter.name: adapter.sha256 for adapter in files},
            storage=f"{self._coverage.storage.format} {self._coverage.storage.method} {self._coverage.share_4bit}",
            arithmetic=f"{self._compute_dtype()} on {device_kinds(device_name(self._model))}"
            + (", experts in 4 bits" if self._packed else ""),
            template=template_digest(self._base.tokenizer.chat_template) if settings.template != "raw" else "raw",
            settings=settings,
            versions=loading.package_versions(),
        )

    def _load(self, files: list[AdapterFiles]) -> None:
        spec, name = self._spec, self._source.display_name
        few = 1 if is_small(self._source) else None
        # Before the load, which may take minutes.
        notes: list[Note | None] = [refuse_other_base(adapter, self._source) for adapter in files]

        def check(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
            notes.extend(compare_templates(tokenizer, {one.name: one.folder for one in files}, self._settings, name))
            # Loading a small base takes no longer than rehearsing it.
            if not few and loading.quantization_of(config) is None:
                rehearse(config, files)

        with threads(few):
            base = loading.load_base(spec, self._source, check)
        notes += [unknown_keys(adapter) for adapter in files]
        self._adapter_notes = [note for note in notes if note is not None]
        self._base = base
        self._coverage = measure_coverage(
            base.model, requested=spec.quantization != "none", prequantized=base.prequantized
        )
        refuse_storage(name, self._coverage, spec, prequantized=base.prequantized)
        vocabulary = loading.vocabulary_size(base.model)
        self._chat = Chat(base.tokenizer, self._settings, name, vocabulary=vocabulary)
        self._pad: int = base.tokenizer.pad_token_id
        self._arms = (BASE_ARM, *(adapter.name for adapter in files))
        self._cached_bytes = 0
        self._threads: int | None = None
        use_batch_invariant_experts(base.model)
        # Why a GPU dequantises the experts at every step; None where it does not, or there are none.
        self._unpacked: Note | None = None
        self._packed = False
        if base.device.type == "cuda" and find_packed_experts(base.model):
            with explain_trial_errors(name):
                self._unpacked = _AS_ASKED if spec.plain_gpu else use_packed_experts(base.model)
            self._packed = self._unpacked is None
        # Without the tools: their description is a hundred times as long as a probe, and shows no more of the weights.
        plain = Chat(base.tokenizer, msgspec.structs.replace(self._settings, tools=()), name, vocabulary=vocabulary)
        probes = [plain.encode(text) for text in PROBES]
        if base.device.type == "cpu":
            with threads(few):
                self._cached_bytes = use_dequantized_weights(base.model)
        with explain_trial_errors(name):
            if base.device.type == "cpu":
                self._threads = few or fastest_threads(
                    lambda: last_logits(base.model, probes[:1], [BASE_ARM], pad=self._pad)
                )
            with threads(self._threads):
                self._prove(files, probes)
        self._loaded_memory = device_memory(self._model)
        reset_peak_memory(self._model)

    def _prove(self, files: list[AdapterFiles], probes: list[tuple[int, ...]]) -> None:
        base, pad, name = self._base, self._pad, self._source.display_name
        before = last_logits(base.model, probes, [BASE_ARM] * len(probes), pad=pad)
        proof.refuse_not_finite(name, {BASE_ARM: before}, dtype=base.compute_dtype)
        self.batch_invariance = proof.check_batch_invariance(base.model, probes, pad=pad)
        self._model: Any = base.model
        self._proofs: tuple[AdapterProof, ...] = ()
        # Why each arm runs in a pass of its own; None where rows of all arms share a batch.
        self._separate: Note | None = None
        if files:
            seen = Probes(name=name, prompts=probes, pad=pad, before=before, batch_invariance=self.batch_invariance)
            self._model, self._proofs, self._separate = attach_and_prove(
                base, files, seen, allow_inert=self._spec.allow_inert_adapter
            )
        two_passes = self._separate is not None
        # Why a GPU launches every step kernel by kernel; None where steps are recorded, and on a CPU.
        self._unrecorded: Note | None = None
        on_gpu = base.device.type == "cuda"
        if on_gpu:
            batches = [[arm] for arm in self._arms] if two_passes else [list(self._arms)]
            plain = _AS_ASKED if self._spec.plain_gpu else None
            self._unrecorded = plain or steps.find_recording_obstacle(self._model, batches, probes, pad=pad)
        self._longest = 0
        self._runner = BatchRunner(
            self._model,
            settings=self._settings,
            stops=base.stops,
            pad=pad,
            two_passes=two_passes,
            # Where rounding depends on the batch, a text would depend on when its neighbours end.
            shrinks=self.batch_invariance.holds,
            fixed=on_gpu and self._unrecorded is None,
            record=steps.make_recorder(base.device) if on_gpu else None,
        )

    def describe(self) -> EngineDescription:
        """Return what is loaded, as measured; memory is as it is now."""
        return EngineDescription(
            engine="transformers",
            base_model=self._spec.base_model_id,
            display_name=self._source.display_name,
            is_demo=self._source.is_demo,
            is_real=True,
            device=device_name(self._model),
            compute_dtype=self._compute_dtype(),
            coverage=self._coverage,
            adapters=self._proofs,
            batching="none" if not self._proofs else "mixed" if self._separate is None else "two passes",
            memory=device_memory(self._model),
            loaded_memory=self._loaded_memory,
            versions=loading.package_versions(),
            notes=tuple(self._notes()),
        )

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        """Yield one Response or Failure per request, a batch at a time; ValueError for an arm not loaded."""
        unknown = {request.arm for request in requests} - set(self._arms)
        if unknown:
            raise ValueError(f"unknown arm {min(unknown)!r}; loaded: {', '.join(self._arms)}")
        tokens = {text: self._chat.encode(text) for text in dict.fromkeys(request.text for request in requests)}
        rows = [
            Row(index=index, request=request, tokens=tokens[request.text]) for index, request in enumerate(requests)
        ]
        if not rows:
            return
        self._longest = max(self._longest, *(len(row.tokens) for row in rows))
        meter = Meter(planned=len(rows), on_progress=on_progress, read_memory=lambda: device_memory(self._model))
        pending = plan_batches(rows, rows_per_batch=self._rows_per_batch(rows))[::-1]
        while pending:
            batch = pending.pop()
            outputs = self._attempt(batch, meter.step)
            if outputs is None and len(batch.rows) > 1:
                pending += batch.halves()[::-1]
                continue
            if outputs is None:
                # A row alone may fit without the padding rows.
                outputs = self._attempt(batch, meter.step, fill=False)
            if outputs is None:
                meter.finish(rows=1, tokens=0)
                yield batch.rows[0].request.failure("generate", _NO_MEMORY)
                continue
            meter.finish(rows=len(outputs), tokens=sum(len(output.tokens) for output in outputs))
            for output in outputs:
                yield self._make_response(output)

    def answer_alone(self, request: Request) -> Response | Failure:
        """Return the response at batch size 1, as latency is measured; rounding may change its text."""
        row = Row(index=0, request=request, tokens=self._chat.encode(request.text))
        outputs = self._attempt(make_batch([row]), None, fill=False)
        return self._make_response(outputs[0]) if outputs else request.failure("generate", _NO_MEMORY)

    def embed(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32] | None]:
        """Return a float32 vector of shape (hidden,) for each text, by the base with adapters off; None for no text."""
        tokenizer = self._base.tokenizer
        tokens = [tokenizer.encode(text, add_special_tokens=False) if text.strip() else [] for text in texts]
        with threads(self._threads):
            return embed_tokens(self._model, tokens, pad=self._pad)

    def logits(self, texts: Sequence[str], arm: str = BASE_ARM) -> npt.NDArray[np.float32]:
        """Return an arm's logits for the first token, float32 (texts, vocabulary); ValueError for another arm."""
        if arm not in self._arms:
            raise ValueError(f"unknown arm {arm!r}; loaded: {', '.join(self._arms)}")
        prompts = [self._chat.encode(text) for text in texts]
        with threads(self._threads):
            found: npt.NDArray[np.float32] = (
                last_logits(self._model, prompts, [arm] * len(prompts), pad=self._pad).cpu().numpy()
            )
        return found

    def identity(self, request: Request, digest: Digest) -> Identity | None:
        """Return what determines the response; None for a base whose files changed, or code without commit."""
        return self._identities.build(request, self._chat.render(request.text), digest)

    def close(self) -> None:
        """Free the memory; the engine cannot be used afterwards."""
        import torch

        for held in ("_model", "_base", "_runner"):
            self.__dict__.pop(held, None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _attempt(self, batch: Batch, on_step: OnStep | None, *, fill: bool = True) -> list[RowOutput] | None:
        """Return the output of a batch, or None when it did not fit in memory."""
        import torch
        from accelerate.utils.memory import should_reduce_batch_size

        try:
            with threads(self._threads):
                return self._runner.run(batch, fill=fill, on_step=on_step)
        except torch_memory_errors():
            pass
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
        # Outside the except block: the exception's traceback would keep the failed batch's tensors alive.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _make_response(self, output: RowOutput) -> Response | Failure:
        request = output.row.request
        if not output.finite:
            return request.failure("generate", Note("not_finite"))
        if output.finish_reason == "timeout":
            values = {"seconds": self._settings.timeout_s or 0.0, "tokens": len(output.tokens)}
            return request.failure("timeout", Note("cut_in_time", values))
        answer = self._chat.read(output.tokens, thinking_open=self._chat.opens_thinking(request.text))
        if answer.text is None:
            return request.failure("generate", Note("thinking_not_closed", {"tokens": len(output.tokens)}))
        return Response(
            prompt_id=request.prompt_id,
            arm=request.arm,
            replicate=request.replicate,
            text=answer.text,
            thinking=answer.thinking,
            finish_reason=output.finish_reason,
            prompt_tokens=len(output.row.tokens),
            new_tokens=len(output.tokens),
            duration_s=output.duration_s,
            first_token_s=output.first_token_s,
            cut_chars=answer.cut_chars,
            tool_calls=answer.tool_calls,
        )

    def _rows_per_batch(self, rows: Sequence[Row]) -> int:
        """Return the configured batch size, else the rows that free memory (and, on a CPU, the timeout) allow."""
        if self._settings.batch_size is not None:
            return self._settings.batch_size
        settings, dtype = self._settings, self._base.compute_dtype
        prompt, new = padded_length(max(len(row.tokens) for row in rows)), settings.max_new_tokens
        fitting = rows_that_fit(self._base.model, prompt_tokens=prompt, new_tokens=new, dtype=dtype)
        if self._base.device.type != "cpu":
            return fitting
        in_time = rows_in_time(
            timeout_s=settings.timeout_s,
            new_tokens=new,
            row_token_s=self.batch_invariance.row_token_s,
            cache_bytes=row_cache_bytes(self._base.model, tokens=prompt + new, dtype=dtype),
        )
        return min(fitting, in_time)

    def _compute_dtype(self) -> str:
        return str(self._base.compute_dtype).removeprefix("torch.")

    def _notes(self) -> Iterator[Note]:
        if self._base.device.type == "cpu":
            yield Note("no_gpu")
        if self._cached_bytes:
            yield Note("kept_dequantized", {"megabytes": round(self._cached_bytes / 1e6)})
        if self._gguf_types:
            code: NoteCode = "quantized_twice" if self._coverage.share_4bit else "dequantized_gguf"
            yield Note(code, {"types": ", ".join(self._gguf_types)})
        yield from self._gpu_notes()
        yield from self.batch_invariance.notes()
        positions = getattr(self._base.model.config, "max_position_embeddings", None)
        if positions is not None and self._longest + self._settings.max_new_tokens > positions:
            most = self._settings.max_new_tokens
            yield Note("longer_than_positions", {"prompt": self._longest, "answer": most, "positions": positions})
        if self._separate is not None:
            yield Note("separate_passes", cause=self._separate)
        yield from self._adapter_notes
        for seen in self._proofs:
            if not seen.live:
                yield Note("adapter_inert", {"name": seen.name})
            if not seen.base_unchanged:
                yield Note("base_moved", {"name": seen.name, "size": seen.max_base_drift or 0.0})

    def _gpu_notes(self) -> Iterator[Note]:
        if self._packed:
            yield Note("experts_packed")
        if self._unpacked is not None:
            yield Note("experts_unpacked", cause=self._unpacked)
        unrecorded = self._unrecorded or self._runner.unrecorded
        if unrecorded is not None:
            yield Note("steps_not_recorded", cause=unrecorded)
