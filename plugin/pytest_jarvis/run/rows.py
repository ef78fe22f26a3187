"""What a run drew of one prompt, as the report holds it: a sample per response, a row per adapter. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.metrics.relevance import TextScore
from pytest_jarvis.metrics.tool_choice import Routing, chosen_tool, judge_calls, judge_named
from pytest_jarvis.metrics.understanding import CleanCommand, Heard, is_understood
from pytest_jarvis.report.schema import ResultRow, Sample, timestamp
from pytest_jarvis.types import PromptCase, Response, Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanForm:
    """What both arms made of the command that a misheard prompt stands for."""

    base: CleanCommand | None = None
    finetuned: CleanCommand | None = None
    samples: tuple[Sample, ...] = ()
    """The responses, where they were drawn for this alone."""


def make_sample(
    case: PromptCase,
    response: Response,
    score: TextScore,
    *,
    metrics: MetricsSection,
    tools: Mapping[str, Tool],
    clean: CleanCommand | None = None,
) -> Sample:
    """Return a response with what its text and calls are worth; a metric that is off gives None.

    `tools` by name are those that calls are judged by. `clean` is what a misheard command is compared with. Where no
    tool is wanted relevance is not measured: an answer is no better there for naming many.
    """
    return Sample(
        arm=response.arm,
        replicate=response.replicate,
        text=response.text,
        thinking=response.thinking,
        finish_reason=response.finish_reason,
        prompt_tokens=response.prompt_tokens,
        tokens=response.new_tokens,
        seconds=response.duration_s,
        first_token_s=response.first_token_s,
        cut_chars=response.cut_chars,
        keywords_found=score.keywords_found,
        keyword_match=score.keyword_match if metrics.keywords else None,
        terms_found=score.terms_found,
        tools_named=score.tools_named,
        relevance=score.relevance if metrics.relevance and not case.no_tool else None,
        tool_calls=response.tool_calls,
        routing=_judge_choice(case, response, score, tools) if metrics.tool_routing else None,
        understood=None if clean is None else is_understood(heard(response, score), clean),
    )


def heard(response: Response, score: TextScore) -> Heard:
    """Return what a response made of its command: its tool, called where tools were offered, and its keywords."""
    return Heard(tool=chosen_tool(response.tool_calls, score.named_most), keywords=score.keywords_found)


def make_row(
    case: PromptCase,
    adapter: str,
    base: Sequence[Sample],
    tuned: Sequence[Sample],
    *,
    cosine: float | None,
    clean: CleanForm,
) -> ResultRow:
    """Return the row of one prompt and adapter; `cosine` is the mean over the pairs."""
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
        cosine_similarity_score=cosine,
        keyword_match_base=_mean(sample.keyword_match for sample in base),
        keyword_match_finetuned=_mean(sample.keyword_match for sample in tuned),
        jarvis_relevance_base=_mean(sample.relevance for sample in base),
        jarvis_relevance_finetuned=_mean(sample.relevance for sample in tuned),
        timestamp=timestamp(),
        samples=(*base, *tuned),
        tool_routing_base=_mean(sample.routing.right for sample in base if sample.routing),
        tool_routing_finetuned=_mean(sample.routing.right for sample in tuned if sample.routing),
        understood_base=_mean(sample.understood for sample in base),
        understood_finetuned=_mean(sample.understood for sample in tuned),
        clean_base=clean.base,
        clean_finetuned=clean.finetuned,
        clean_samples=clean.samples,
        no_tool=case.no_tool,
    )


def _judge_choice(case: PromptCase, response: Response, score: TextScore, tools: Mapping[str, Tool]) -> Routing | None:
    """Judge the calls where tools were offered, else the tool that the text names most."""
    if response.tool_calls is not None:
        return judge_calls(response.tool_calls, case, tools)
    return judge_named(score.named_most, case)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
