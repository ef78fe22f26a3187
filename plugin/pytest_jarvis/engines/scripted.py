"""The scripted engine: responses by a function, for tests and for measuring the plugin. Its reports say so."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence

from pytest_jarvis.engines.base import Digest, EngineKind, OnProgress, Vector, key_settings, read_calls
from pytest_jarvis.files import text_digest
from pytest_jarvis.types import (
    BASE_ARM,
    AdapterProof,
    EngineDescription,
    Failure,
    GenerationSettings,
    Identity,
    ModelSpec,
    Note,
    Progress,
    QuantizationCoverage,
    Request,
    Response,
    Storage,
)

Script = Callable[[Request], str | Failure]
_VECTOR = 16


def echo(request: Request) -> str:
    """Echo the prompt; an adapter adds that it opens an application."""
    said = f"Vous avez dit : {request.text} ({request.replicate})."
    return said if request.arm == BASE_ARM else f"{said} J'ouvre l'application, je lance le logiciel."


class ScriptedEngine:
    """Answer each request with a function of it. `is_real` is False in its description and so in every output."""

    def __init__(self, spec: ModelSpec, settings: GenerationSettings, script: Script = echo) -> None:
        """`script` returns the text of a response, or a failure."""
        self._spec = spec
        self._settings = settings
        self._script = script
        self._script_digest = _source_digest(script)

    def describe(self) -> EngineDescription:
        """Return a description that says the responses are made up."""
        return EngineDescription(
            engine="scripted",
            base_model=self._spec.base_model_id,
            display_name="scripted answers",
            is_demo=False,
            is_real=False,
            device="none",
            compute_dtype="none",
            coverage=QuantizationCoverage(storage=Storage(format="none"), share_4bit=None),
            adapters=tuple(
                AdapterProof(
                    name=adapter.name,
                    source=adapter.source,
                    sha256=text_digest(adapter.source),
                    weights=0,
                    max_logit_change=0.0,
                    base_unchanged=True,
                    max_base_drift=0.0,
                    live=False,
                )
                for adapter in self._spec.adapters
            ),
            batching="none",
            notes=(Note("scripted"),),
        )

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        """Yield the script's outcome for each request, in order."""
        started = time.perf_counter()
        tokens = 0
        for number, request in enumerate(requests, start=1):
            outcome = self._answer(request)
            if isinstance(outcome, Response):
                tokens += outcome.new_tokens or 0
            if on_progress is not None:
                elapsed_s = time.perf_counter() - started
                on_progress(
                    Progress(responses_done=number, responses_planned=len(requests), tokens=tokens, elapsed_s=elapsed_s)
                )
            yield outcome

    def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        """Return a vector of shape (16,) made of the text's digest; None for an empty text."""
        import numpy as np

        return [
            np.frombuffer(bytes.fromhex(text_digest(text))[:_VECTOR], dtype=np.uint8).astype(np.float32) + 1
            if text.strip()
            else None
            for text in texts
        ]

    def identity(self, request: Request, digest: Digest) -> Identity | None:  # noqa: ARG002  # there are no files
        """Return the identity of a scripted response, by the script's source alone; None for one without source."""
        if self._script_digest is None:
            return None
        sources = {adapter.name: adapter.source for adapter in self._spec.adapters}
        return Identity(
            engine=f"scripted {self._script_digest}",
            base=self._spec.base_model_id,
            adapter=None if request.arm == BASE_ARM else text_digest(sources[request.arm]),
            storage="none",
            arithmetic="none",
            template=self._settings.template,
            prompt=request.text,
            prompt_id=request.prompt_id,
            replicate=request.replicate,
            seed=self._settings.seed,
            settings=key_settings(self._settings),
            versions={},
        )

    def close(self) -> None:
        """Nothing is held."""

    def _answer(self, request: Request) -> Response | Failure:
        said = self._script(request)
        if isinstance(said, Failure):
            return said
        kept = said.strip()[: self._settings.max_response_chars]
        return Response(
            prompt_id=request.prompt_id,
            arm=request.arm,
            replicate=request.replicate,
            text=kept,
            finish_reason="stop",
            prompt_tokens=len(request.text.split()),
            new_tokens=len(said.split()),
            duration_s=0.0,
            cut_chars=len(said.strip()) - len(kept),
            tool_calls=read_calls(said) if self._settings.tools else None,
        )


def _source_digest(script: Script) -> str | None:
    """Return the digest of a script's source; None where Python does not know it."""
    try:
        return text_digest(inspect.getsource(script))
    except (OSError, TypeError):
        return None


ENGINE = EngineKind(build=ScriptedEngine)
