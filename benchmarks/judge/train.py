"""Train the judge of deeds and measure it: weights from labelled answers, in seconds, the same each time.

    python benchmarks/judge/train.py                 # cross-validate: leave an author out, leave prompts out
    python benchmarks/judge/train.py --write         # and write the weights of the package
    python benchmarks/judge/train.py --test          # and judge the answers that nothing was made with

The features come from the package's own reading of an answer (`deeds`); only the last step is learned.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from pytest_jarvis.inputs.prompts import load_prompts
from pytest_jarvis.metrics.deeds import OUTCOMES, Judge
from pytest_jarvis.metrics.deeds import model as deeds_model
from pytest_jarvis.metrics.deeds.model import Model
from pytest_jarvis.types import PromptCase

HERE = Path(__file__).parent
SHIPPED_PROMPTS = HERE.parents[1] / "jarvis_prompts"
OWN_TOOLS = HERE / "own_tools"
MORE_TOOLS = HERE / "more_tools"
CALENDAR = HERE / "calendar"
OWN_TOOLS_TEST = {f"inv-{number}" for number in range(11, 21)}
"""Prompts to the invented tools whose answers nothing was made with."""
STRENGTH = 1.0
"""Inverse of the penalty on the weights, chosen by leaving authors out."""
LEAST_MEAN = 0.02
"""A feature that is rarer is usually absent, for a reason's sake."""
FEWEST_PROMPTS = 6
"""A word is a feature when the answers to so many prompts hold it: it then belongs to no domain."""


class Row(msgspec.Struct, kw_only=True):
    """A labelled answer."""

    prompt_id: str
    text: str
    label: str
    style: str = ""
    author: str = ""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A labelled answer with its prompt and, unless a rule decides, its features."""

    row: Row
    source: str
    case: PromptCase
    judge: Judge
    features: Mapping[str, float] | None


def read_examples(name: str, judge: Judge, cases: Mapping[str, PromptCase], source: str) -> list[Example]:
    """Return the labelled answers of a file, with what the model sees of each."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    rows = [msgspec.json.decode(line, type=Row) for line in lines if line.strip()]
    return [
        Example(
            row=row,
            source=source,
            case=cases[row.prompt_id],
            judge=judge,
            features=judge.features(cases[row.prompt_id], row.text),
        )
        for row in rows
    ]


def load_all() -> dict[str, list[Example]]:
    """Return every labelled answer by its source; `own` are those to the invented tools, `own_test` kept apart."""
    sets = [load_prompts(folder) for folder in (SHIPPED_PROMPTS, OWN_TOOLS, MORE_TOOLS, CALENDAR)]
    cases = {case.prompt_id: case for prompts in sets for case in prompts.cases}
    judge, own_judge, more_judge, calendar_judge = (Judge(prompts.tools) for prompts in sets)
    found = {
        source: read_examples(f"answers_{source}.jsonl", judge, cases, source) for source in ("dev", "a", "b", "e", "d")
    }
    found["more"] = read_examples("more_tools_answers.jsonl", more_judge, cases, "more")
    found["diary"] = read_examples("calendar_answers.jsonl", calendar_judge, cases, "diary")
    invented = read_examples("own_tools_answers.jsonl", own_judge, cases, "own")
    found["own"] = [one for one in invented if one.row.prompt_id not in OWN_TOOLS_TEST]
    found["own_test"] = [one for one in invented if one.row.prompt_id in OWN_TOOLS_TEST]
    return found


def train(examples: Sequence[Example]) -> Model:
    """Return the model of the examples that no rule decides."""
    from sklearn.linear_model import LogisticRegression

    used = [one for one in examples if one.features is not None]
    names = feature_names(used)
    matrix = np.array([[(one.features or {}).get(name, 0.0) for name in names] for one in used])
    labels = [one.row.label for one in used]
    fitted = LogisticRegression(C=STRENGTH, max_iter=5000).fit(matrix, labels)
    order = [list(fitted.classes_).index(kind) for kind in OUTCOMES]
    weights = {
        name: tuple(round(float(fitted.coef_[row][column]), 3) for row in order) for column, name in enumerate(names)
    }
    kept = {name: row for name, row in weights.items() if any(row)}
    means = zip(names, matrix.mean(axis=0), strict=True)
    usual = {name: round(float(mean), 3) for name, mean in means if mean > LEAST_MEAN and name in kept}
    return Model(OUTCOMES, tuple(round(float(fitted.intercept_[row]), 3) for row in order), kept, usual)


def feature_names(used: Sequence[Example]) -> list[str]:
    """Return the features that are learned from: words only where the answers to several prompts hold them."""
    prompts: dict[str, set[str]] = {}
    for one in used:
        for name in one.features or {}:
            prompts.setdefault(name, set()).add(one.row.prompt_id)
    return sorted(
        name for name, where in prompts.items() if not name.startswith("word ") or len(where) >= FEWEST_PROMPTS
    )


def measure(model: Model, examples: Sequence[Example]) -> tuple[float, float, Counter[tuple[str, str]]]:
    """Return the agreement done / not done, that of five outcomes, and the confusion table."""
    table: Counter[tuple[str, str]] = Counter()
    for one in examples:
        judge = with_model(one.judge, model)
        table[one.row.label, judge.judge(one.case, one.row.text).kind] += 1
    total = len(examples)
    return (
        sum(count for (label, kind), count in table.items() if (label == "done") == (kind == "done")) / total,
        sum(count for (label, kind), count in table.items() if label == kind) / total,
        table,
    )


def with_model(judge: Judge, model: Model) -> Judge:
    """Return a judge of the same tools that decides by `model`."""
    judge._model = model
    return judge


def leave_out(groups: Sequence[str], key: Callable[[Example], str], examples: Sequence[Example]) -> None:
    """Print the agreement on each group of a model of all others."""
    parts = []
    for group in groups:
        model = train([one for one in examples if key(one) != group])
        held = [one for one in examples if key(one) == group]
        two, five, _ = measure(model, held)
        parts.append((two, five, len(held)))
        print(f"  {group:>6}: done or not {two:.3f}, five outcomes {five:.3f}, {len(held)} answers")
    total = sum(count for _, _, count in parts)
    mean = [sum(part[place] * part[2] for part in parts) / total for place in (0, 1)]
    print(f"  {'all':>6}: done or not {mean[0]:.3f}, five outcomes {mean[1]:.3f}")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the weights of the package")
    parser.add_argument("--test", action="store_true", help="judge the test answers; not for choosing anything")
    options = parser.parse_args()
    begun = time.perf_counter()
    found = load_all()
    sources = ("dev", "a", "b", "e", "own", "more", "diary")
    known = [one for source in sources for one in found[source]]
    print("leaving an author out")
    leave_out(sources, lambda one: one.source, known)
    print("leaving prompts out")
    leave_out([str(fold) for fold in range(10)], lambda one: str(int(one.row.prompt_id[-2:]) % 10), known)
    model = train(known)
    print(f"{len(known)} answers, {len(model.weights)} features, {time.perf_counter() - begun:.1f} s")
    if options.write:
        path = Path(deeds_model.__file__).with_name(deeds_model.WEIGHTS_FILE)
        content = {
            "outcomes": model.outcomes,
            "intercepts": model.intercepts,
            "weights": model.weights,
            "usual": model.usual,
        }
        path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    if options.test:
        shipped = train([one for one in known if one.source not in {"own", "more", "diary"}])
        for name, source, chosen in (
            ("another author", "d", model),
            ("a user's own tools", "own_test", model),
            ("a user's own tools, none seen", "own_test", shipped),
        ):
            two, five, _ = measure(chosen, found[source])
            print(f"test, {name}: done or not {two:.3f}, five outcomes {five:.3f}, {len(found[source])} answers")


if __name__ == "__main__":
    main()
