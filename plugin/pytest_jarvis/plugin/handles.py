"""Values of the fixtures: the measurement of a prompt, and a handle on an arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pytest_jarvis.render.french import labels
from pytest_jarvis.render.french.formats import printable
from pytest_jarvis.report.schema import FailureRow, ResultRow
from pytest_jarvis.types import EngineError, Failure, Request, Response

if TYPE_CHECKING:
    from pytest_jarvis.engines.base import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Result of `jarvis_measure`: a row per adapter, and the failures."""

    rows: tuple[ResultRow, ...]
    failures: tuple[FailureRow, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every adapter has a pair of responses."""
        return all(row.measured for row in self.rows)

    @property
    def problems(self) -> str:
        """Distinct reasons of the failures, as one line."""
        reasons = sorted({f"{failure.arm}: {failure.stage}: {failure.reason}" for failure in self.failures})
        return printable("; ".join(reasons)) or "no response was generated"


@runtime_checkable
class AnswersAlone(Protocol):
    """An engine that can generate at batch size 1."""

    def answer_alone(self, request: Request) -> Response | Failure:
        """Return the response to one request, alone in its batch."""


@dataclass(frozen=True, slots=True)
class ModelHandle:
    """One arm of the loaded pair: its adapter on, or all adapters off."""

    engine: Engine
    arm: str
    label: str

    @property
    def storage(self) -> str:
        """Measured storage of the weights, in French."""
        return labels.storage(self.engine.describe().coverage.storage)

    def generate(self, text: str, *, prompt_id: str = "libre", replicate: int = 0) -> Response:
        """Return one response to `text`; raise EngineError for a failure."""
        request = Request(prompt_id=prompt_id, text=text, arm=self.arm, replicate=replicate)
        return self._require_response(text, next(iter(self.engine.generate([request])), None))

    def answer_alone(self, text: str, *, prompt_id: str = "libre", replicate: int = 0) -> Response:
        """Return one response at batch size 1, to measure latency; raise EngineError for a failure.

        An engine without batches of its own (a server, the scripted one) generates as usual.
        """
        if not isinstance(self.engine, AnswersAlone):
            return self.generate(text, prompt_id=prompt_id, replicate=replicate)
        request = Request(prompt_id=prompt_id, text=text, arm=self.arm, replicate=replicate)
        return self._require_response(text, self.engine.answer_alone(request))

    def _require_response(self, text: str, outcome: Response | Failure | None) -> Response:
        if outcome is None:
            raise EngineError(f"{self.arm}: no response to {text!r}")
        if isinstance(outcome, Failure):
            raise EngineError(f"{self.arm}: no response to {text!r}: {outcome.reason}")
        return outcome
