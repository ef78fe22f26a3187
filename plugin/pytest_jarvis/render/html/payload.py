"""The cases of `report.html` as data: compact arrays for `cases.js`, each response once."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from pytest_jarvis.metrics.registry import COSINE, KEYWORDS, RELEVANCE
from pytest_jarvis.metrics.relevance import in_prompt
from pytest_jarvis.render.blocks import case_anchor
from pytest_jarvis.render.french.explanations import outcome
from pytest_jarvis.render.french.labels import script_words, tuned_arm
from pytest_jarvis.render.french.metrics import label_of, specs_by_name
from pytest_jarvis.render.french.notes import french_note
from pytest_jarvis.render.french.outcomes import outcome_label
from pytest_jarvis.render.french.words import table
from pytest_jarvis.report.analysis.insights import Insights
from pytest_jarvis.report.schema import FailureRow, Report, ResultRow, Sample
from pytest_jarvis.types import BASE_ARM

_FINISH: Final[Mapping[str, int]] = {"stop": 0, "length": 1, "timeout": 2}
# What could end the script element or a line of it, and lone surrogates, which no file can hold.
_UNSAFE: Final = re.compile("[<>&\u2028\u2029\ud800-\udfff]")

Row = list[object]


def encode_payload(report: Report, insights: Insights) -> str:
    """Return the data of the page as JSON that is safe in a script element, whatever texts it has."""
    written = json.dumps(_payload(report, insights), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", written)


def _payload(report: Report, insights: Insights) -> dict[str, object]:
    strings = _Table()
    responses = _Table()
    prompts = _Table()
    extras = specs_by_name(report)
    adapters = list(report.metadata.adapters)
    categories = list(report.by_category)
    failures = _failures_of(report.failures)
    proofs = {
        (one.name, change.row.prompt_id): change.p_worse for one in insights.adapters for change in one.regressions
    }
    cases: list[Row] = []
    for row in report.results:
        if row.category not in categories:
            categories.append(row.category)
        leaked = report.contamination is not None and row.prompt_id in report.contamination.leaks
        prompt = prompts.place(_prompt(row, categories.index(row.category), strings, leaked=leaked))
        arms = [
            [
                responses.place(_response(sample, strings, extras))
                for sample in row.samples
                if (sample.arm != row.adapter) is of_base
            ]
            for of_base in (True, False)
        ]
        failed = [failures.get((row.prompt_id, arm), []) for arm in (BASE_ARM, row.adapter)]
        cases.append(
            [
                prompt,
                adapters.index(row.adapter) if row.adapter in adapters else 0,
                case_anchor(row.prompt_id, row.adapter, report.metadata.lora_adapter),
                *arms,
                *failed,
                *(
                    _rounded(mean)
                    for means in (row.figure(RELEVANCE), row.figure(KEYWORDS))
                    for mean in (means.base, means.finetuned)
                ),
                _rounded(row.figure(COSINE).finetuned),
                _rounded(proofs.get((row.adapter, row.prompt_id)), 6),
            ]
        )
    return {
        "words": script_words(tuned_arm(report)),
        "adapters": adapters,
        "categories": [[name, report.category_label(name)] for name in categories],
        "extras": [[label_of(spec), int(spec.higher_is_better), int(spec.per == "pair")] for spec in extras.values()],
        "strings": strings.items,
        "prompts": prompts.items,
        "responses": responses.items,
        "cases": cases,
    }


class _Table:
    """Distinct items in order, each known by its index."""

    def __init__(self) -> None:
        self.items: list[object] = []
        self._places: dict[str, int] = {}

    def place(self, item: object) -> int:
        """Return the index of an item, and add it if it is new."""
        key = item if isinstance(item, str) else repr(item)
        if key not in self._places:
            self._places[key] = len(self.items)
            self.items.append(item)
        return self._places[key]


def _prompt(row: ResultRow, category: int, strings: _Table, *, leaked: bool) -> Row:
    return [
        row.prompt_id,
        category,
        row.prompt,
        row.intended,
        row.expected_tool,
        list(map(strings.place, row.keywords_expected)),
        list(map(strings.place, in_prompt(row.prompt, row.keywords_expected))),
        int(leaked),
    ]


def _response(sample: Sample, strings: _Table, extras: Iterable[str]) -> Row:
    row: Row = [
        sample.arm,
        sample.replicate,
        sample.text,
        sample.response.thinking,
        _FINISH[sample.response.finish_reason],
        sample.response.new_tokens,
        _rounded(sample.response.duration_s, 3),
        sample.response.cut_chars,
        list(map(strings.place, sample.keywords_found)),
        list(map(strings.place, sample.terms_found)),
        list(map(strings.place, sample.tools_named)),
        _rounded(sample.score(KEYWORDS)),
        _rounded(sample.score(RELEVANCE)),
        None if sample.routing is None else [strings.place(outcome(sample.routing)), int(sample.routing.right)],
        None if (did := sample.outcome) is None else [strings.place(outcome_label(did)), int(did.done)],
    ]
    return [*row, *(_rounded(sample.score(name)) for name in extras)]


def _failures_of(failures: Iterable[FailureRow]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for failure in failures:
        stage = table("labels.stages").get(failure.stage, failure.stage)
        shown = [failure.replicate, stage, french_note(failure.reason)]
        found.setdefault((failure.prompt_id, failure.arm), []).append(shown)
    return found


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)
