"""How long the search for the benchmark's prompts in training data takes, and what it finds in the demo's own corpus.

Run: python benchmarks/contamination_in_training_data.py [--lines 100000] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from demo_pair.corpus import base_dialogues, jarvis_dialogues, read_guard
from pytest_jarvis.inputs.contamination import search_training_data
from pytest_jarvis.inputs.prompts import load_prompts, packaged_prompts
from pytest_jarvis.types import PromptCase


def main() -> None:
    """Write a corpus, plant every prompt in it once, look for 30 and for many prompts, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cases = load_prompts(packaged_prompts()).cases
    guard = read_guard(packaged_prompts())
    half = options.lines // 2
    dialogues = [one for make in (base_dialogues, jarvis_dialogues) for one in make(half, options.seed, guard)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.jsonl"
        with file.open("w", encoding="utf-8") as out:
            for one in dialogues:
                turns = [{"role": "user", "content": one.user}, {"role": "assistant", "content": one.assistant}]
                out.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
        print(f"{len(dialogues)} lines, {file.stat().st_size / 1e6:.1f} MB")
        _look("30 prompts", cases, file)
        many = [
            PromptCase(prompt_id=f"{case.prompt_id}-{number}", category="c", text=f"{case.text} {number}", keywords=())
            for case in cases
            for number in range(10)
        ]
        _look("300 prompts", many, file)
        found = search_training_data(cases, [file])
        for own in found.leaks.values():
            for leak in own:
                print(f"  {leak.prompt_id} {leak.kind} {leak.similarity:.3f}: {leak.text}")
        with file.open("a", encoding="utf-8") as out:
            out.writelines(json.dumps({"prompt": case.text}) + "\n" for case in cases)
        planted = search_training_data(cases, [file]).counts
        print(f"planted: {len(cases)} prompts, found {len(planted)}")


def _look(name: str, cases: tuple[PromptCase, ...] | list[PromptCase], file: Path) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    found = search_training_data(cases, [file])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{name}: {wall:.2f} s, {cpu:.2f} s of processor; found in {sum(found.counts.values())} of {found.texts} texts"
    )


if __name__ == "__main__":
    main()
