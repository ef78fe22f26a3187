"""The fake engine: answers by rule, for tests and for measuring the plugin itself. Its reports say that it is one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_jarvis.engines.base import OnProgress
from pytest_jarvis.records import (
    BASE_ARM,
    AdapterProof,
    EngineDescription,
    Failure,
    GenerationSettings,
    ModelSpec,
    Progress,
    QuantizationCoverage,
    Request,
    Response,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Script = Callable[[Request], str | Failure]
_VECTOR = 16


def echo(request: Request) -> str:
    """Answer with the prompt; an adapter also says that it opens an application."""
    said = f"Vous avez dit : {request.text} ({request.replicate})."
    return said if request.arm == BASE_ARM else f"{said} J'ouvre l'application, je lance le logiciel."


class ScriptedEngine:
    """Answers each request by a function of it. `is_real` is False in its description and so in every output."""

    def __init__(self, spec: ModelSpec, settings: GenerationSettings, script: Script = echo) -> None:
        """`script` gives the text of a response, or its failure."""
        self._spec = spec
        self._settings = settings
        self._script = script

    def describe(self) -> EngineDescription:
        """Return a description that says the answers are made up."""
        return EngineDescription(
            engine="scripted",
            base_model=self._spec.base_model,
            display_name="moteur factice (réponses écrites d'avance)",
            is_demo=False,
            is_real=False,
            device="aucun",
            compute_dtype="none",
            coverage=QuantizationCoverage(label="none", share_4bit=None),
            adapters=tuple(
                AdapterProof(
                    name=adapter.name,
                    source=adapter.source,
                    sha256=hashlib.sha256(adapter.source.encode()).hexdigest(),
                    rank=None,
                    targets=(),
                    weights=0,
                    max_logit_change=0.0,
                    base_unchanged=True,
                    max_base_drift=0.0,
                    live=False,
                )
                for adapter in self._spec.adapters
            ),
            batching="none",
            memory=(),
            notes=("the answers are made up by a script: these are not measurements of a model",),
        )

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        """Yield what the script says of each request, in order."""
        started = time.perf_counter()
        tokens = 0
        for number, request in enumerate(requests, start=1):
            outcome = self._answer(request)
            if isinstance(outcome, Response):
                tokens += outcome.new_tokens
            if on_progress is not None:
                elapsed_s = time.perf_counter() - started
                on_progress(
                    Progress(responses_done=number, responses_planned=len(requests), tokens=tokens, elapsed_s=elapsed_s)
                )
            yield outcome

    def embed(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32] | None]:
        """Return a vector of shape (16,) made of the text's digest; None for an empty text."""
        import numpy as np

        return [
            np.frombuffer(hashlib.sha256(text.encode()).digest()[:_VECTOR], dtype=np.uint8).astype(np.float32) + 1
            if text.strip()
            else None
            for text in texts
        ]

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
            thinking=None,
            finish_reason="stop",
            prompt_tokens=len(request.text.split()),
            new_tokens=len(said.split()),
            duration_s=0.0,
            first_token_s=None,
            cut_chars=len(said.strip()) - len(kept),
        )
