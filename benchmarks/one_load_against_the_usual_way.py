"""Compare one load with both arms in the same batches to the usual way, for the same work.

The usual way: a process per arm, each loading the base and the adapter, then one prompt at a time. Both sides hold the
same weights in 4 bits, experts included, at one response per prompt. Two comparisons, each printed with the tokens that
both sides wrote:

- at natural length: ours answers as it does, and the usual way is made to write as many tokens for each prompt;
- at 128 new tokens for each response, the end mark ignored on both sides, the usual setting where throughput is
  measured. Ours then runs on a copy of the pair whose end mark is a token that cannot be drawn.

With `--stock` the usual way loads by a stock `BitsAndBytesConfig`, which leaves the experts in 16 bits and so does less
work at each step. Prints both times, end to end and in generation, what they are made of, and their ratios round by
round. The processor time of both sides is printed too (not on Windows): on a shared machine it says more than the
clock, above all with OMP_NUM_THREADS=1, because threads that wait for each other burn it. Both sides run on compiled
modules, as after a first run, and without the plugins that only contributors have.

    python benchmarks/one_load_against_the_usual_way.py [--rounds 3] [--stock] [--only natural|full]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
OPTIONS: Final = (
    "--jarvis-samples",
    "1",
    "--jarvis-gate",
    "off",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:hypothesispytest",
)
FULL_LENGTH: Final = 128
NEVER: Final = "<|never|>"
"""The end mark of the copy: a token after the last one that the model has a logit for."""


def main() -> None:
    """Run both ways in turn at both lengths, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stock", action="store_true", help="the usual way leaves the experts in 16 bits")
    parser.add_argument("--only", choices=("natural", "full"), help="one of the two comparisons")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--pair", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--lengths", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(one_arm_one_by_one(options.arm, options.pair, options.lengths, stock=options.stock)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only != "full":
            print("At natural length")
            show([compare(folder / f"natural-{number}", stock=options.stock) for number in range(options.rounds)])
        if options.only != "natural":
            endless = copy_without_end(folder / "endless")
            print(f"At {FULL_LENGTH} new tokens for each response")
            show([compare(folder / f"full-{n}", stock=options.stock, pair=endless) for n in range(options.rounds)])


def show(rounds: list[dict[str, float]]) -> None:
    """Print the medians of the rounds, their ratios, and what the times are made of."""
    for name, unit in (("whole", "end to end"), ("generate", "in generation"), ("processor", "processor time")):
        ours = statistics.median(item[f"ours_{name}_s"] for item in rounds)
        usual = statistics.median(item[f"usual_{name}_s"] for item in rounds)
        if not ours:  # Windows does not tell the processor time of processes that have ended
            continue
        ratios = sorted(item[f"usual_{name}_s"] / item[f"ours_{name}_s"] for item in rounds)
        print(
            f"  {unit}: ours {ours:.2f} s, the usual way {usual:.2f} s, "
            f"ratio {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        )
    for side, who in (("ours", "ours"), ("usual", "the usual way")):
        load, generate, whole = (
            statistics.median(item[f"{side}_{part}_s"] for item in rounds) for part in ("load", "generate", "whole")
        )
        rest = whole - load - generate
        print(f"  {who}: importing and loading {load:.2f} s, generating {generate:.2f} s, the rest {rest:.2f} s")
    print(f"  tokens written by each side: {rounds[-1]['tokens']:.0f} in {rounds[-1]['responses']:.0f} responses")


def compare(folder: Path, *, stock: bool, pair: Path | None = None) -> dict[str, float]:
    """Run ours, then the usual way with the same lengths; return seconds, tokens and responses.

    `pair` is the folder of a copy without an end mark; None is the embedded pair as it is.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    models = (
        () if pair is None else ("--jarvis-model", str(pair / "base"), "--jarvis-adapter", f"jarvis={pair / 'jarvis'}")
    )
    report_folder = folder / "report"
    started, used = time.perf_counter(), processor_s()
    subprocess.run(
        [sys.executable, "-m", "pytest", "tests/", "-q", *OPTIONS, *models, "--jarvis-report-dir", str(report_folder)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    ours_s, ours_processor_s = time.perf_counter() - started, processor_s() - used
    report = json.loads((report_folder / "report.json").read_text(encoding="utf-8"))
    lengths = {
        f"{row['prompt_id']}/{sample['arm']}": sample["tokens"]
        for row in report["results"]
        for sample in row["samples"]
    }
    if pair is not None and set(lengths.values()) != {FULL_LENGTH}:
        sys.exit(f"responses of {min(lengths.values())} to {max(lengths.values())} tokens, not of {FULL_LENGTH}")
    lengths_file = folder / "lengths.json"
    lengths_file.write_text(json.dumps(lengths), encoding="utf-8")
    timings = report["provenance"]["timings_s"]
    usual = {"load_s": 0.0, "generate_s": 0.0}
    started, used = time.perf_counter(), processor_s()
    for arm in ("base", "jarvis"):
        command = [sys.executable, __file__, "--arm", arm, "--lengths", str(lengths_file)]
        command += [*(["--pair", str(pair)] if pair else []), *(["--stock"] if stock else [])]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", env=environment
        )
        for name, seconds in json.loads(done.stdout.splitlines()[-1]).items():
            usual[name] += seconds
    return {
        "usual_whole_s": time.perf_counter() - started,
        "usual_processor_s": processor_s() - used,
        "ours_processor_s": ours_processor_s,
        "usual_load_s": usual["load_s"],
        "usual_generate_s": usual["generate_s"],
        "ours_whole_s": ours_s,
        "ours_load_s": timings["load"],
        "ours_generate_s": timings["generate"],
        "tokens": sum(lengths.values()),
        "responses": len(lengths),
    }


def processor_s() -> float:
    """Return the processor seconds, user and system, of the processes that were started and have ended."""
    used = os.times()
    return used.children_user + used.children_system


def copy_without_end(folder: Path) -> Path:
    """Return a folder with the embedded pair, `base` and `jarvis`, whose end mark the model cannot draw."""
    from transformers import AutoTokenizer

    from pytest_jarvis.demo import adapter_path, base_path

    base = Path(shutil.copytree(base_path(), folder / "base"))
    adapter = Path(shutil.copytree(adapter_path("jarvis"), folder / "jarvis"))
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"eos_token": NEVER})
    tokenizer.save_pretrained(base)
    for file, changes in (
        (base / "config.json", {"eos_token_id": tokenizer.eos_token_id}),
        (base / "generation_config.json", {"eos_token_id": tokenizer.eos_token_id}),
        (adapter / "adapter_config.json", {"base_model_name_or_path": str(base)}),
    ):
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return folder


def one_arm_one_by_one(arm: str, pair: Path | None, lengths_file: Path, *, stock: bool) -> dict[str, float]:
    """Do what a script per model does: load, then generate prompt by prompt; return the seconds of both."""
    began = time.perf_counter()
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    from pytest_jarvis.demo import adapter_path, base_path
    from pytest_jarvis.engines.transformers.loading.base import load_base
    from pytest_jarvis.engines.transformers.loading.sources import find_source
    from pytest_jarvis.inputs.prompts import load_prompts, packaged_prompts
    from pytest_jarvis.types import ModelSpec

    lengths: dict[str, int] = json.loads(lengths_file.read_text(encoding="utf-8"))
    base_folder = pair / "base" if pair else base_path()
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    if stock:
        model = AutoModelForCausalLM.from_pretrained(
            base_folder,
            quantization_config=BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.bfloat16,
            ),
            dtype=torch.bfloat16,
            device_map="auto",
        )
    else:
        spec = ModelSpec(base_model_id=str(base_folder)) if pair else ModelSpec()
        model = load_base(spec, find_source(spec)).model
    if arm != "base":
        model = PeftModel.from_pretrained(model, pair / arm if pair else adapter_path(arm))
    model.eval()
    torch.manual_seed(0)
    started = time.perf_counter()
    for case in load_prompts(packaged_prompts()).cases:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": case.text}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        tokens = lengths[f"{case.prompt_id}/{arm}"]
        with torch.inference_mode():
            model.generate(
                **tokenizer(text, return_tensors="pt"),
                do_sample=True,
                temperature=0.7,
                top_p=0.9,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
            )
    return {"load_s": started - began, "generate_s": time.perf_counter() - started}


if __name__ == "__main__":
    main()
