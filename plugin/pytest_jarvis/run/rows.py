"""Samples and rows of a report: one sample per response, one row per prompt and adapter. Pure functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.metrics.custom import MetricSet
from pytest_jarvis.metrics.deeds import Judge
from pytest_jarvis.metrics.registry import Reading
from pytest_jarvis.metrics.relevance import Dictionary, score_text
from pytest_jarvis.metrics.tool_choice import is_judged, judge_calls, routing_of
from pytest_jarvis.report.schema import Figure, ResultRow, Sample, figures_of, timestamp
from pytest_jarvis.types import PromptCase, Response, Tool, ToolCall


class Reader:
    """Reads responses: keywords and terms, what they did, and the choice of the tool."""

    def __init__(self, tools: Sequence[Tool], section: MetricsSection) -> None:
        self._dictionary = Dictionary.of(tools)
        self._tools = {tool.name: tool for tool in tools}
        self._section = section
        self._judge = Judge(tools)
        self._known: dict[tuple[str, str], Reading] = {}
        """Readings of texts without calls: the same ones come again and again."""

    def read(self, case: PromptCase, response: Response) -> Reading:
        """Return the reading of a response to `case`; with a choice of the tool where that metric is on."""
        if response.tool_calls is not None:
            return self._read(case, response.text, response.tool_calls)
        key = (case.prompt_id, response.text)
        if key not in self._known:
            self._known[key] = self._read(case, response.text, None)
        return self._known[key]

    def _read(self, case: PromptCase, text: str, calls: Sequence[ToolCall] | None) -> Reading:
        outcome = self._judge.judge(case, text, calls) if is_judged(case) else None
        routing = None
        if outcome is not None and self._section.tool_routing:
            routing = routing_of(outcome, case) if calls is None else judge_calls(calls, case, self._tools)
        score = score_text(text, case, self._dictionary, outcome, self._section)
        return Reading(text=score, outcome=outcome if self._section.deeds else None, routing=routing)


def make_scorer(reader: Reader, metrics: MetricSet) -> Callable[[PromptCase, str], dict[str, float]]:
    """Return a function that scores a text as a response to a prompt, without a model; metric -> value."""

    def score(case: PromptCase, text: str) -> dict[str, float]:
        response = Response(
            prompt_id=case.prompt_id, arm="", replicate=0, text=text, finish_reason="stop", new_tokens=0, duration_s=0.0
        )
        return metrics.of_response(case, response, reader.read(case, response))

    return score


def make_sample(response: Response, reading: Reading, scores: Mapping[str, float], *, reused: bool = False) -> Sample:
    """Return the sample of a response; `scores` lacks the metrics that were not measured."""
    return Sample(
        response=response,
        scores=dict(scores),
        keywords_found=reading.text.keywords_found,
        terms_found=reading.text.terms_found,
        tools_named=reading.text.tools_named,
        terms_announced=reading.text.terms_announced,
        outcome=None if reading.outcome is None else replace(reading.outcome, announced=()),
        routing=reading.routing,
        reused=reused,
    )


def make_row(
    case: PromptCase,
    adapter: str,
    base: Sequence[Sample],
    tuned: Sequence[Sample],
    *,
    given: Mapping[str, Figure] | None = None,
    made_at: str | None = None,
) -> ResultRow:
    """Return the row of one prompt and adapter, with the figures `given` that samples lack."""
    return ResultRow(
        prompt_id=case.prompt_id,
        category=case.category,
        prompt=case.text,
        adapter=adapter,
        keywords_expected=case.keywords,
        expected_tool=case.expected_tool,
        intended=case.intended,
        base_model_response=base[0].text if base else None,
        finetuned_response=tuned[0].text if tuned else None,
        figures=figures_of(base, tuned) | dict(given or {}),
        timestamp=made_at or timestamp(),
        samples=(*base, *tuned),
        no_tool=case.no_tool,
    )
