"""The engine of `--jarvis-replay`: gives back what a report recorded. No model, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_jarvis.engines.base import Digest, OnProgress
from pytest_jarvis.recording import Recording
from pytest_jarvis.records import (
    EngineDescription,
    EngineError,
    Failure,
    GenerationSettings,
    Identity,
    ModelSpec,
    Request,
    Response,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class ReplayEngine:
    """Answers each request with the recorded response, or the recorded failure.

    What was never drawn (a run that was interrupted) is neither: nothing is given back for it, so that it stays missing
    and does not become a failure of the model.
    """

    def __init__(self, spec: ModelSpec, settings: GenerationSettings, recording: Recording | None = None) -> None:
        """`spec` and `settings` are those of the recording; EngineError without one."""
        del spec, settings
        if recording is None:
            raise EngineError("engine 'replay': nothing to replay; name a report with --jarvis-replay REPORT.json")
        self._recording = recording

    def describe(self) -> EngineDescription:
        """Return what the original engine said of itself: is_demo and is_real are its own."""
        return self._recording.engine

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        """Yield what was recorded for each request, in order; a prompt that was not asked then is a Failure.

        Progress is not told: nothing is drawn.
        """
        del on_progress
        for request in requests:
            asked = self._recording.texts.get(request.prompt_id, self._recording.clean_texts.get(request.prompt_id))
            if asked != request.text:
                yield Failure(
                    prompt_id=request.prompt_id,
                    arm=request.arm,
                    replicate=request.replicate,
                    stage="generate",
                    reason="the replayed report holds no response to this prompt; run without --jarvis-replay",
                )
            elif (outcome := self._recording.outcomes.get(request.key)) is not None:
                yield outcome

    def embed(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32] | None]:
        """Return None for each text: a report holds cosines, not embeddings."""
        return [None] * len(texts)

    def identity(self, request: Request, digest: Digest) -> Identity | None:
        """Return None: a replayed response is another run's; nothing of it is stored under this run's name."""
        del request, digest
        return None

    def close(self) -> None:
        """Nothing is held."""
