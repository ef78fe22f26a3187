"""What the fixtures give to a test: what was measured of a prompt, and one arm of the loaded pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pytest_jarvis.render.french import labels
from pytest_jarvis.report.schema import FailureRow, ResultRow
from pytest_jarvis.types import EngineError, Failure, Request, Response

if TYPE_CHECKING:
    from pytest_jarvis.engines.base import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What `jarvis_measure` gives back: a row per adapter, and why something is missing, if it is."""

    rows: tuple[ResultRow, ...]
    failures: tuple[FailureRow, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every adapter has at least one pair of responses."""
        return all(row.measured for row in self.rows)

    @property
    def problems(self) -> str:
        """The reasons of the responses that could not be made, each once."""
        reasons = sorted({f"{failure.arm}: {failure.stage}: {failure.reason}" for failure in self.failures})
        return "; ".join(reasons) or "no response was drawn"


@runtime_checkable
class AnswersAlone(Protocol):
    """An engine that can answer at batch size 1."""

    def answer_alone(self, request: Request) -> Response | Failure:
        """Return the answer to one request, with nothing beside it in its batch."""


@dataclass(frozen=True, slots=True)
class ModelHandle:
    """One arm of the loaded pair: the same weights, with its adapter on or every adapter off."""

    engine: Engine
    arm: str
    label: str

    @property
    def storage(self) -> str:
        """How the weights are stored, as measured; said in French."""
        return labels.storage(self.engine.describe().coverage.storage)

    def generate(self, text: str, *, prompt_id: str = "libre", replicate: int = 0) -> Response:
        """Return one response to `text`; raise EngineError when it could not be made."""
        request = Request(prompt_id=prompt_id, text=text, arm=self.arm, replicate=replicate)
        return self._checked(text, next(iter(self.engine.generate([request])), None))

    def answer_alone(self, text: str, *, prompt_id: str = "libre", replicate: int = 0) -> Response:
        """Return one response at batch size 1, as latency is measured; raise EngineError when it could not be made.

        An engine that runs no batches of its own (a server, the scripted one) answers as ever.
        """
        request = Request(prompt_id=prompt_id, text=text, arm=self.arm, replicate=replicate)
        if isinstance(self.engine, AnswersAlone):
            return self._checked(text, self.engine.answer_alone(request))
        return self._checked(text, next(iter(self.engine.generate([request])), None))

    def _checked(self, text: str, outcome: Response | Failure | None) -> Response:
        if outcome is None:
            raise EngineError(f"{self.arm}: no response to {text!r}")
        if isinstance(outcome, Failure):
            raise EngineError(f"{self.arm}: no response to {text!r}: {outcome.reason}")
        return outcome
