"""The registry of built-in metrics: name, unit, and how each is computed.

A built-in metric is one entry of `BUILT_IN`, and its French label one of `render.french.metrics.LABELS`. The flat keys
of `report.json`, tables, charts, thresholds, noise floors and comparisons follow from these two. Custom metrics
(`metrics.custom`) have the same type and are measured in the same way.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.metrics.deeds import Outcome
from pytest_jarvis.metrics.relevance import TextScore
from pytest_jarvis.metrics.tool_choice import Routing
from pytest_jarvis.types import PromptCase, Response

Per = Literal["response", "pair"]
"""What a metric measures: a response, or the two responses of one prompt and replicate."""
Unit = Literal["score", "share", "similarity", "count", "seconds", "own"]
"""score, share, similarity: in [0, 1]; a share is shown in per cent. own: a unit of its own."""
Place = Literal["column", "section", "line", "detail"]
"""Where reports show a metric. column: in every table of figures. section: in a section of its own, with details.
line: among further metrics, as custom ones. detail: among the statistics alone."""
Switch = Literal["deeds", "relevance", "keywords", "cosine", "tool_routing"]
"""Key of the configuration's section `metrics` that turns a metric off."""


class MetricSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric as readers know it."""

    name: str
    label: str
    higher_is_better: bool = True
    per: Per = "response"
    unit: Unit = "own"

    @property
    def highest(self) -> float:
        """The largest possible value: 1, or infinity."""
        return 1.0 if self.unit in {"score", "share", "similarity"} else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What built-in metrics are computed from: the details of one response, read once."""

    text: TextScore
    outcome: Outcome | None = None
    """What it did; None where the prompt does not say what is wanted."""
    routing: Routing | None = None
    """How it chose its tool; None where the prompt states no tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric: its spec and how it is measured.

    One of three ways: `measure` takes (case, response, reading), or (case, base, finetuned) of a pair, and returns None
    where it does not apply; `fact` is read from the response on demand, and never stored; with neither, the run
    measures all responses at once with the engine (`BenchmarkRun`).
    """

    spec: MetricSpec
    measure: Callable[..., float | None] | None = None
    fact: Callable[[Response], float | None] | None = None
    place: Place = "line"
    switch: Switch | None = None

    def is_on(self, section: MetricsSection) -> bool:
        """Return whether the configuration turns it on."""
        return self.switch is None or bool(getattr(section, self.switch))


RELEVANCE: Final = "jarvis_relevance"
"""The metric that the gate judges."""
DEEDS: Final = "deeds"
KEYWORDS: Final = "keyword_share"
KEYWORD_COUNT: Final = "keyword_match"
COSINE: Final = "cosine_similarity"
TOOL_ROUTING: Final = "tool_routing"


def _deeds(case: PromptCase, response: Response, reading: Reading) -> float | None:
    del case, response
    return None if reading.outcome is None else float(reading.outcome.done)


def _routing(case: PromptCase, response: Response, reading: Reading) -> float | None:
    del case, response
    return None if reading.routing is None else float(reading.routing.right)


BUILT_IN: Final[Mapping[str, Metric]] = {
    metric.spec.name: metric
    for metric in (
        Metric(
            spec=MetricSpec(name=DEEDS, label="Deeds done", unit="share"),
            measure=_deeds,
            place="column",
            switch="deeds",
        ),
        Metric(
            spec=MetricSpec(name=RELEVANCE, label="JARVIS relevance", unit="score"),
            measure=lambda case, response, reading: reading.text.relevance,  # noqa: ARG005
            place="column",
            switch="relevance",
        ),
        Metric(
            spec=MetricSpec(name=KEYWORDS, label="Keywords found", unit="share"),
            measure=lambda case, response, reading: reading.text.keyword_share,  # noqa: ARG005
            place="column",
            switch="keywords",
        ),
        Metric(
            spec=MetricSpec(name=COSINE, label="Cosine similarity", unit="similarity", per="pair"),
            place="column",
            switch="cosine",
        ),
        Metric(
            spec=MetricSpec(name=TOOL_ROUTING, label="Right tool chosen", unit="share"),
            measure=_routing,
            place="section",
            switch="tool_routing",
        ),
        Metric(
            spec=MetricSpec(name=KEYWORD_COUNT, label="Keywords found, counted"),
            measure=lambda case, response, reading: float(len(reading.text.keywords_found)),  # noqa: ARG005
            place="detail",
            switch="keywords",
        ),
        Metric(
            spec=MetricSpec(name="dictionary_relevance", label="JARVIS relevance, whole dictionary", unit="score"),
            measure=lambda case, response, reading: reading.text.dictionary_relevance if case.has_relevance else None,  # noqa: ARG005
            place="detail",
            switch="relevance",
        ),
        Metric(
            spec=MetricSpec(name="characters", label="Characters", unit="count", higher_is_better=False),
            fact=lambda response: float(len(response.text)),
            place="detail",
        ),
        Metric(
            spec=MetricSpec(name="tokens", label="Tokens", unit="count", higher_is_better=False),
            fact=lambda response: response.new_tokens,
            place="detail",
        ),
        Metric(
            spec=MetricSpec(name="seconds", label="Seconds", unit="seconds", higher_is_better=False),
            fact=lambda response: response.duration_s,
            place="detail",
        ),
    )
}
"""By name, in the order in which reports show them."""

RESERVED: Final = frozenset(
    {
        *BUILT_IN,
        *("relevance", "keywords", "cosine", "cosine_similarity_score", "first_token_s", "routing"),
        *("expected_tool", "all_keywords", "base_relevance", "base_keywords"),
    }
)
"""Names that custom metrics may not have: built-in ones, and other keys of a response in reports."""


def list_specs(*places: Place, per: Per | None = None) -> tuple[MetricSpec, ...]:
    """Return the built-in metrics shown at these places, of one kind or both, in order."""
    return tuple(
        metric.spec for metric in BUILT_IN.values() if metric.place in places and per in {None, metric.spec.per}
    )
