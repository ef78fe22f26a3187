"""The decision of each adapter without the prompts that its training data holds. Pure functions of rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pytest_jarvis.changes import pair_of, relevance_of
from pytest_jarvis.looks import Question
from pytest_jarvis.report import ResultRow
from pytest_jarvis.statistics import Decision, decide


def decisions_without(
    left_out: Collection[str], rows: Sequence[ResultRow], decisions: Mapping[str, Decision], question: Question
) -> dict[str, Decision]:
    """Give back the decisions anew, on the other prompts: same responses, same bar, same error rate.

    An adapter of whose prompts none is left has none. One that was settled before the last response is judged on the
    responses of then.
    """
    found: dict[str, Decision] = {}
    for name, decision in decisions.items():
        most = decision.replicates[1]
        kept = [row for row in rows if row.adapter == name and row.prompt_id not in left_out]
        pairs = [pair for row in kept if all(pair := pair_of(row, relevance_of))]
        if pairs:
            found[name] = decide(
                [base[:most] for base, _ in pairs],
                [tuned[:most] for _, tuned in pairs],
                min_gain=decision.min_gain,
                alpha=decision.alpha,
                shared_noise=question.shared_noise,
                deterministic=question.deterministic,
            )
    return found
