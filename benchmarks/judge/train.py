"""Train the judge of deeds and measure it: weights from labelled answers, in seconds, the same each time.

    python benchmarks/judge/train.py                 # cross-validate: leave an author out
    python benchmarks/judge/train.py --write         # and write the weights of the package
    python benchmarks/judge/train.py --test          # judge the answers that nothing was made with

The features come from the package's own reading of an answer (`deeds`); only the last step is learned.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from pytest_jarvis.inputs.prompts import load_prompts
from pytest_jarvis.metrics.deeds import OUTCOMES, Judge, JudgeError, Measured, decision
from pytest_jarvis.metrics.deeds.decision import Model
from pytest_jarvis.metrics.deeds.error import ERROR_FILE
from pytest_jarvis.types import PromptCase

HERE = Path(__file__).parent
SHIPPED_PROMPTS = HERE.parents[1] / "jarvis_prompts"
SETS: dict[str, tuple[Path, str]] = {
    **{name: (SHIPPED_PROMPTS, f"answers_{name}.jsonl") for name in ("dev", "a", "b", "d", "e", "f", "real")},
    **{name: (HERE / name, f"{name}_answers.jsonl") for name in ("own_tools", "more_tools", "calendar", "house")},
}
"""Folder of the prompts and file of the labelled answers of each set that the judge is made with."""
TESTS: dict[Measured, tuple[Path, str]] = {
    "test": (SHIPPED_PROMPTS, "test_answers.jsonl"),
    "own_tools": (HERE / "test_tools", "test_tools_answers.jsonl"),
}
"""The answers that nothing is made with: another author's, and those to a user's own tools."""
STRENGTH = 1.0
"""Inverse of the penalty on the weights, chosen by leaving authors out."""
SHUFFLED = 0.1
"""What an answer given to another prompt counts beside one given to its own."""
LEAST_MEAN = 0.02
"""A feature that is rarer is usually absent, for a reason's sake."""
FEWEST_PROMPTS = 6
"""A word is a feature when the answers to so many prompts hold it: it then belongs to no domain."""

Table = Counter[tuple[str, str]]
"""How often an answer of a label (first) was judged as an outcome (second)."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
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
    weight: float = 1.0


def read_examples(source: str, folder: Path, name: str) -> list[Example]:
    """Return the labelled answers of a file, with what the model sees of each."""
    prompts = load_prompts(folder, add=("guards", "retired"))
    cases = {case.prompt_id: case for case in prompts.cases}
    judge = Judge(prompts.tools)
    rows = [msgspec.json.decode(line, type=Row) for line in (HERE / name).read_bytes().splitlines() if line.strip()]
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


def shuffle(examples: Sequence[Example]) -> Iterator[Example]:
    """Yield answers that did what was asked, each given to a prompt of another tool, where it does something else."""
    chance = np.random.default_rng(0)
    cases: dict[int, list[PromptCase]] = {}
    for one in examples:
        if one.case not in (asked := cases.setdefault(id(one.judge), [])):
            asked.append(one.case)
    for one in examples:
        if one.row.label != "done" or not (one.features or {}).get("good firm"):
            continue
        others = [case for case in cases[id(one.judge)] if case.expected_tool != one.case.expected_tool]
        other = others[chance.integers(len(others))]
        features = one.judge.features(other, one.row.text)
        if features is not None and not features.get("good"):
            row = msgspec.structs.replace(one.row, prompt_id=other.prompt_id, label="wrong_action")
            yield replace(one, row=row, case=other, features=features, weight=SHUFFLED)


def train(examples: Sequence[Example]) -> Model:
    """Return the model of the examples that no rule decides."""
    from scipy.sparse import csr_array
    from sklearn.linear_model import LogisticRegression

    used = [(one, one.features) for one in examples if one.features is not None]
    names = feature_names(used)
    column = {name: place for place, name in enumerate(names)}
    cells = [
        (row, column[name], value)
        for row, (_, features) in enumerate(used)
        for name, value in features.items()
        if name in column
    ]
    rows, columns, values = zip(*cells, strict=True)
    matrix = csr_array((values, (rows, columns)), shape=(len(used), len(names)))
    labels, counts = [one.row.label for one, _ in used], [one.weight for one, _ in used]
    fitted = LogisticRegression(C=STRENGTH, max_iter=1000).fit(matrix, labels, sample_weight=counts)
    order = [list(fitted.classes_).index(kind) for kind in OUTCOMES]
    weights = {
        name: tuple(round(float(fitted.coef_[row][place]), 3) for row in order) for name, place in column.items()
    }
    kept = {name: row for name, row in weights.items() if any(row)}
    means = zip(names, np.average(matrix.toarray(), axis=0, weights=counts), strict=True)
    usual = {name: round(float(mean), 3) for name, mean in means if mean > LEAST_MEAN and name in kept}
    return Model(OUTCOMES, tuple(round(float(fitted.intercept_[row]), 3) for row in order), kept, usual)


def feature_names(used: Sequence[tuple[Example, Mapping[str, float]]]) -> list[str]:
    """Return the features that are learned from: words only where the answers to several prompts hold them."""
    prompts: dict[str, set[str]] = {}
    for one, features in used:
        for name in features if one.weight == 1.0 else ():
            prompts.setdefault(name, set()).add(one.row.prompt_id)
    return sorted(
        name for name, where in prompts.items() if not name.startswith("word ") or len(where) >= FEWEST_PROMPTS
    )


def measure(model: Model, examples: Sequence[Example]) -> Table:
    """Return how the examples are judged."""
    table: Table = Counter()
    for one in examples:
        table[one.row.label, with_model(one.judge, model).judge(one.case, one.row.text).kind] += 1
    return table


def with_model(judge: Judge, model: Model) -> Judge:
    """Return a judge of the same tools that decides by `model`."""
    judge._model = model
    return judge


def agreement(table: Table) -> str:
    """Return in words how often label and judge agree: done or not, and which of five outcomes."""
    two = sum(count for (label, kind), count in table.items() if (label == "done") == (kind == "done"))
    five = sum(count for (label, kind), count in table.items() if label == kind)
    total = table.total()
    return f"done or not {two / total:.3f}, five outcomes {five / total:.3f}, {total} answers"


def leave_authors_out(known: Sequence[Example], shuffled: Sequence[Example]) -> Table:
    """Print the agreement on each author's answers of a model of all others; return the confusion table of all."""
    every: Table = Counter()
    for source in SETS:
        model = train([one for one in (*known, *shuffled) if one.source != source])
        table = measure(model, [one for one in known if one.source == source])
        print(f"  {source:>10}: {agreement(table)}")
        every.update(table)
    print(f"  {'all':>10}: {agreement(every)}")
    return every


def write(model: Model) -> None:
    """Write the weights of the package."""
    path = Path(decision.__file__).with_name(decision.WEIGHTS_FILE)
    content = {
        "outcomes": model.outcomes,
        "intercepts": model.intercepts,
        "weights": model.weights,
        "usual": model.usual,
    }
    text = json.dumps(content, ensure_ascii=False).replace("], ", "],\n")
    path.write_text(text + "\n", encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def error_of(table: Table) -> JudgeError:
    """Return how well `done` is judged."""
    done = sum(count for (label, _), count in table.items() if label == "done")
    other = table.total() - done
    seen = table["done", "done"]
    spared = other - sum(count for (label, kind), count in table.items() if label != "done" and kind == "done")
    return JudgeError(
        sensitivity=round(seen / done, 4), specificity=round(spared / other, 4), positives=done, negatives=other
    )


def write_errors(errors: dict[Measured, JudgeError]) -> None:
    """Write the judge's error into the package, beside what was measured before."""
    path = Path(decision.__file__).with_name(ERROR_FILE)
    before = msgspec.json.decode(path.read_bytes(), type=dict[str, JudgeError]) if path.exists() else {}
    text = msgspec.json.format(msgspec.json.encode({**before, **errors}, order="sorted"), indent=2)
    path.write_bytes(text + b"\n")


def print_table(title: str, table: Table) -> None:
    """Print an agreement and how the outcomes were confused: a row a label, a column what the judge said."""
    print(f"{title}: {agreement(table)}")
    print(f"{'':>14}" + "".join(f"{kind:>14}" for kind in OUTCOMES))
    for label in OUTCOMES:
        print(f"{label:>14}" + "".join(f"{table[label, kind]:>14}" for kind in OUTCOMES))


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the weights of the package")
    parser.add_argument("--test", action="store_true", help="judge the test answers; not for choosing anything")
    options = parser.parse_args()
    begun = time.perf_counter()
    known = [one for source, (folder, name) in SETS.items() for one in read_examples(source, folder, name)]
    shuffled = [*shuffle(known)]
    print("leaving an author out")
    authors = leave_authors_out(known, shuffled)
    print_table("all", authors)
    model = train([*known, *shuffled])
    print(f"{len(known)} answers, {len(model.weights)} features, {time.perf_counter() - begun:.1f} s")
    if options.write:
        write(model)
        write_errors({"authors": error_of(authors)})
    if options.test:
        for title, (folder, name) in TESTS.items():
            table = measure(model, read_examples(title, folder, name))
            print_table(title, table)
            write_errors({title: error_of(table)})


if __name__ == "__main__":
    main()
