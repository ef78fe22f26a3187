"""Samples and rows of a report: one sample per response, one row per prompt and adapter. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.metrics.registry import Reading
from pytest_jarvis.metrics.relevance import Dictionary, score_text
from pytest_jarvis.metrics.tool_choice import judge_calls, judge_named
from pytest_jarvis.metrics.understanding import CleanCommand
from pytest_jarvis.report.schema import Figure, ResultRow, Sample, figures_of, timestamp
from pytest_jarvis.types import PromptCase, Response, Tool


class Reader:
    """Finds keywords, terms and the choice of the tool in responses."""

    def __init__(self, tools: Sequence[Tool], section: MetricsSection) -> None:
        self._dictionary = Dictionary.of(tools)
        self._tools = {tool.name: tool for tool in tools}
        self._section = section

    def read(self, case: PromptCase, response: Response) -> Reading:
        """Return the reading of a response to `case`; with a choice of the tool where that metric is on."""
        text = score_text(
            response.text,
            case,
            self._dictionary,
            substring=self._section.keyword_mode == "substring",
            relevance_share=self._section.relevance_share,
        )
        if not self._section.tool_routing:
            return Reading(text=text, routing=None)
        if response.tool_calls is None:  # no tools were offered: the tool that the text names most counts
            return Reading(text=text, routing=judge_named(text.named_most, case))
        return Reading(text=text, routing=judge_calls(response.tool_calls, case, self._tools))


def make_sample(response: Response, reading: Reading, scores: Mapping[str, float], *, reused: bool = False) -> Sample:
    """Return the sample of a response; `scores` lacks the metrics that were not measured."""
    return Sample(
        response=response,
        scores=dict(scores),
        keywords_found=reading.text.keywords_found,
        terms_found=reading.text.terms_found,
        tools_named=reading.text.tools_named,
        routing=reading.routing,
        reused=reused,
    )


def make_row(
    case: PromptCase,
    adapter: str,
    base: Sequence[Sample],
    tuned: Sequence[Sample],
    *,
    clean: tuple[CleanCommand | None, CleanCommand | None] = (None, None),
    clean_samples: Sequence[Sample] = (),
    given: Mapping[str, Figure] | None = None,
) -> ResultRow:
    """Return the row of one prompt and adapter.

    `clean` has the results of base and adapter on the clean command of a misheard prompt, `clean_samples` the responses
    generated for them alone; `given` has figures of metrics that the samples lack.
    """
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
        timestamp=timestamp(),
        samples=(*base, *tuned),
        clean_base=clean[0],
        clean_finetuned=clean[1],
        clean_samples=tuple(clean_samples),
        no_tool=case.no_tool,
    )
