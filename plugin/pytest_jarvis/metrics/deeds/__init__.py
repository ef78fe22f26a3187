"""The judge of deeds: what a response did, as a typed outcome with the reason that decided."""

from pytest_jarvis.metrics.deeds.error import JudgeError, Measured, corrected_share, judge_error
from pytest_jarvis.metrics.deeds.judge import Judge
from pytest_jarvis.metrics.deeds.outcome import OUTCOMES, Outcome, ReasonCode

__all__ = ["OUTCOMES", "Judge", "JudgeError", "Measured", "Outcome", "ReasonCode", "corrected_share", "judge_error"]
