"""The answers to clean commands that a run draws beside its plan, to see whether misheard ones were understood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_jarvis.config import MetricsSection
from pytest_jarvis.records import Failure, PromptCase, Response, ResponseKey
from pytest_jarvis.rows import heard
from pytest_jarvis.scoring import Dictionary, TextScore, score_text
from pytest_jarvis.understanding import CleanCommand, most_heard, plan_clean_commands


class CleanAnswers:
    """Holds the answers of the extra prompts, which are no rows of the report, and finds those of the others."""

    def __init__(
        self, cases: Sequence[PromptCase], dictionary: Dictionary, metrics: MetricsSection, *, most: int
    ) -> None:
        """`cases` are those of the plan, `most` is how many replicates may be drawn; nothing when the metric is off."""
        self._plan = plan_clean_commands(cases if metrics.understanding else ())
        self._most = most
        self._metrics = metrics
        self._dictionary = dictionary
        self._extra_ids = frozenset(case.prompt_id for case in self._plan.extra)
        self._responses: dict[ResponseKey, Response] = {}
        self._failures: dict[ResponseKey, Failure] = {}
        self._found: dict[tuple[str, str, int], CleanCommand | None] = {}

    @property
    def extra(self) -> tuple[PromptCase, ...]:
        """The prompts to draw beside those of the plan."""
        return self._plan.extra

    def takes(self, outcome: Response | Failure) -> bool:
        """Keep the outcome if it is one of an extra prompt, and tell whether it was."""
        if outcome.prompt_id not in self._extra_ids:
            return False
        if isinstance(outcome, Response):
            self._responses[outcome.key] = outcome
        else:
            self._failures[outcome.key] = outcome
        return True

    def of(self, case: PromptCase, arm: str, drawn: Mapping[ResponseKey, Response]) -> CleanCommand | None:
        """Return what an arm made of the clean form of `case`; None where it has none, or no answer to it.

        `drawn` are the responses of the plan, in which the clean form may stand as a prompt of its own.
        """
        clean_id = self._plan.clean_id.get(case.prompt_id)
        if clean_id is None:
            return None
        answers = self._answers(clean_id, arm, drawn)
        place = (case.prompt_id, arm, len(answers))
        if place not in self._found:
            made = [heard(response, self._score(case, response)) for response in answers]
            self._found[place] = most_heard(made, answers[0].text if answers else "")
        return self._found[place]

    def drawn_for(self, case: PromptCase, arm: str) -> Iterator[tuple[Response, TextScore]]:
        """Yield the answers that were drawn for this comparison alone, scored as answers to `case`."""
        clean_id = self._plan.clean_id.get(case.prompt_id)
        for response in self._answers(clean_id, arm, {}) if clean_id in self._extra_ids else ():
            yield response, self._score(case, response)

    def _answers(self, clean_id: str, arm: str, drawn: Mapping[ResponseKey, Response]) -> list[Response]:
        source = self._responses if clean_id in self._extra_ids else drawn
        keys = [(clean_id, arm, number) for number in range(self._most)]
        return [source[key] for key in keys if key in source]

    def _score(self, case: PromptCase, response: Response) -> TextScore:
        return score_text(
            response.text,
            case,
            self._dictionary,
            substring=self._metrics.keyword_mode == "substring",
            relevance_share=self._metrics.relevance_share,
        )

    def failures(
        self, case: PromptCase, arms: Sequence[str], drawn: Mapping[ResponseKey, Response]
    ) -> Iterator[Failure]:
        """Yield a failure of stage `score` for each arm whose clean command has no answer because all of them failed.

        Its own prompt was answered then, but cannot be compared.
        """
        clean_id = self._plan.clean_id.get(case.prompt_id)
        if clean_id not in self._extra_ids:
            return
        for arm in arms:
            failed = [one for key, one in self._failures.items() if key[:2] == (clean_id, arm)]
            if failed and self.of(case, arm, drawn) is None:
                reason = f"no answer to the clean command '{case.intended}': {failed[0].reason}"
                yield Failure(prompt_id=case.prompt_id, arm=arm, replicate=0, stage="score", reason=reason)
