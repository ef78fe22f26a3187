"""What responses did, in French, and how far a person's labels agree."""

from collections import Counter
from collections.abc import Sequence

from pytest_jarvis.inputs.answers import Answer
from pytest_jarvis.metrics.deeds import OUTCOMES, Outcome
from pytest_jarvis.render.french.formats import percent, printable, shorten
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.types import OutcomeKind


def kind_label(kind: OutcomeKind) -> str:
    return table("outcomes.kinds")[kind]


def reason_label(outcome: Outcome) -> str:
    """Return why an outcome is what it is, with the words of the response that show it."""
    reason = table("outcomes.reasons")[outcome.reason]
    shown = ", ".join(printable(part) for part in outcome.evidence if part)
    return f"{reason} : {shorten(shown, 60)}" if shown else reason


def outcome_label(outcome: Outcome) -> str:
    return f"{kind_label(outcome.kind)} : {reason_label(outcome)}"


def agreement_lines(answers: Sequence[Answer], outcomes: Sequence[Outcome]) -> list[str]:
    """Return how far labels agree: two shares, the confusion table, the disagreements; nothing without a label."""
    pairs = [
        (answer, outcome, answer.expected_outcome)
        for answer, outcome in zip(answers, outcomes, strict=True)
        if answer.expected_outcome is not None
    ]
    if not pairs:
        return []
    counts = Counter((expected, outcome.kind) for _, outcome, expected in pairs)
    agreed = {
        "two": sum(count for (expected, kind), count in counts.items() if (expected == "done") is (kind == "done")),
        "five": sum(counts[kind, kind] for kind in OUTCOMES),
    }
    shares = {name: f"{count}/{len(pairs)} ({percent(count / len(pairs))})" for name, count in agreed.items()}
    width = max(len(kind_label(kind)) for kind in OUTCOMES) + 2
    lines = [
        "",
        word("outcomes.agreement").format_map(shares),
        f"{word('outcomes.expected'):<20}" + "".join(f"{kind_label(kind):>{width}}" for kind in OUTCOMES),
    ]
    lines += [
        f"{kind_label(expected):<20}" + "".join(f"{counts[expected, kind]:>{width}}" for kind in OUTCOMES)
        for expected in OUTCOMES
    ]
    lines += [
        word("outcomes.disagreement").format(
            prompt=answer.prompt_id,
            expected=kind_label(expected),
            kind=kind_label(outcome.kind),
            reason=reason_label(outcome),
            text=shorten(printable(" ".join(answer.text.split())), 80),
        )
        for answer, outcome, expected in pairs
        if expected != outcome.kind
    ]
    return lines
