"""Compare one load with both arms in the same batches to the usual way, for the same work.

The usual way: a process per arm, each loading the base and the adapter, then one prompt at a time. Both sides hold the
same weights in 4 bits, experts included, at one response per prompt, and the usual way is made to write exactly as many
tokens for each prompt as ours wrote. With `--stock` the usual way loads by a stock `BitsAndBytesConfig`, which leaves
the experts in 16 bits and so does less work at each step. Prints both times, end to end and in generation, and their
ratios round by round.

    python benchmarks/one_load_against_the_usual_way.py [--rounds 3] [--stock]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPTIONS = ("--jarvis-samples", "1", "--jarvis-gate", "off", "-p", "no:cacheprovider")


def main() -> None:
    """Run both ways in turn, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stock", action="store_true", help="the usual way leaves the experts in 16 bits")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--lengths", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(one_arm_one_by_one(options.arm, options.lengths, stock=options.stock)))
        return
    rounds = [compare(stock=options.stock) for _ in range(options.rounds)]
    for name, unit in (("whole", "end to end"), ("generate", "in generation")):
        ours = statistics.median(item[f"ours_{name}_s"] for item in rounds)
        usual = statistics.median(item[f"usual_{name}_s"] for item in rounds)
        ratios = sorted(item[f"usual_{name}_s"] / item[f"ours_{name}_s"] for item in rounds)
        print(
            f"{unit}: ours {ours:.2f} s, the usual way {usual:.2f} s, "
            f"ratio {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        )
    print(f"tokens written by each way: {rounds[-1]['tokens']}")


def compare(*, stock: bool) -> dict[str, float]:
    """Run ours, then the usual way with the same lengths; return seconds and tokens."""
    with tempfile.TemporaryDirectory() as folder:
        report_folder = Path(folder) / "report"
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "pytest", "tests/", "-q", *OPTIONS, "--jarvis-report-dir", str(report_folder)],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        ours_s = time.perf_counter() - started
        report = json.loads((report_folder / "report.json").read_text(encoding="utf-8"))
        lengths = {
            f"{row['prompt_id']}/{sample['arm']}": sample["tokens"]
            for row in report["results"]
            for sample in row["samples"]
        }
        lengths_file = Path(folder) / "lengths.json"
        lengths_file.write_text(json.dumps(lengths), encoding="utf-8")
        usual_generate_s = 0.0
        started = time.perf_counter()
        for arm in ("base", "jarvis"):
            done = subprocess.run(
                [
                    sys.executable,
                    __file__,
                    "--arm",
                    arm,
                    "--lengths",
                    str(lengths_file),
                    *(["--stock"] if stock else []),
                ],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
            )
            usual_generate_s += json.loads(done.stdout.splitlines()[-1])["generate_s"]
        usual_s = time.perf_counter() - started
    return {
        "ours_whole_s": ours_s,
        "usual_whole_s": usual_s,
        "ours_generate_s": report["provenance"]["timings_s"]["generate"],
        "usual_generate_s": usual_generate_s,
        "tokens": sum(lengths.values()),
    }


def one_arm_one_by_one(arm: str, lengths_file: Path, *, stock: bool) -> dict[str, float]:
    """Do what a script per model does: load, then generate prompt by prompt."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    from pytest_jarvis.demo import adapter_path, base_path
    from pytest_jarvis.engines.transformers.loading import load_base
    from pytest_jarvis.engines.transformers.sources import find_source
    from pytest_jarvis.prompts import load_prompts, packaged_prompts
    from pytest_jarvis.records import ModelSpec

    lengths: dict[str, int] = json.loads(lengths_file.read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(base_path())
    if stock:
        model = AutoModelForCausalLM.from_pretrained(
            base_path(),
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
        spec = ModelSpec()
        model = load_base(spec, find_source(spec)).model
    if arm != "base":
        model = PeftModel.from_pretrained(model, adapter_path(arm))
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
    return {"generate_s": time.perf_counter() - started}


if __name__ == "__main__":
    main()
