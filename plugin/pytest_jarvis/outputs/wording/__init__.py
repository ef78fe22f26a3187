"""Every French word and number format that outputs share."""

from pytest_jarvis.outputs.wording.formats import (
    DASH,
    NBSP,
    encodable,
    fit,
    gain_interval,
    number,
    percent,
    plural,
    printable,
    seconds,
    typeset,
)
from pytest_jarvis.outputs.wording.verdicts import VERDICTS, gate_sentence, reason_sentence, verdict_line

__all__ = [
    "DASH",
    "NBSP",
    "VERDICTS",
    "encodable",
    "fit",
    "gain_interval",
    "gate_sentence",
    "number",
    "percent",
    "plural",
    "printable",
    "reason_sentence",
    "seconds",
    "typeset",
    "verdict_line",
]
