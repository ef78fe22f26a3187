"""The engine `server` against real servers, started and stopped here on loopback: vLLM and `transformers serve`.

    python benchmarks/servers/real_servers.py --vllm PYTHON

PYTHON is that of an environment that holds vLLM (`install_vllm.sh` makes one for CPUs). A small dense pair is made from
a seed, the benchmark runs on it in this process's own engine (weights as they are), then through each server, drawn at
random and greedily. Said, and refused when it is not so: every report is judged; the mean relevance of each arm agrees
with our engine's (99.9 % intervals of the difference hold 0); of the greedy texts, at least `LEAST_SAME` are equal.
vLLM is started twice: with a spare LoRA slot, where requests of both arms meet in a batch, and without one, where vLLM
on a CPU lets the adapter into the base's rows (vLLM #48421) and the arms have to run one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dense_pair import make_pair

from pytest_jarvis import Report, load_report
from pytest_jarvis.stats.estimates import compare

ROOT = Path(__file__).resolve().parents[2]
LEAST_SAME = 0.9
ALPHA = 0.0005
"""One-sided, so that an interval of a difference is one of 99.9 %."""
READY_S = 400
SEED = 0
SAMPLES = 4
BASE_STEPS, ADAPTER_STEPS = 300, 80


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where everything is."""

    work: Path
    pair: Path

    def run(self, name: str, *arguments: str, greedy: bool, url: str | None = None) -> Report:
        """Run the benchmark with `arguments` and return its report; a report that is not complete ends the script."""
        config = {
            "model": {"quantization": "none"},
            "generation": {"do_sample": not greedy, "seed": SEED, "max_new_tokens": 64, "timeout_s": 120},
            "benchmark": {"gate": "point", "samples": 1 if greedy else SAMPLES},
            "output": {"formats": ["text"]},
        }
        file = self.work / f"{name}.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        engine = ("--jarvis-engine", "server", "--jarvis-base-url", url) if url else ()
        folder = self.work / name
        started = time.perf_counter()
        command = [sys.executable, "-m", "pytest", "tests", "-m", "not quick", "-q", "-p", "no:cacheprovider"]
        options = ["--jarvis-config", str(file), "--jarvis-report-dir", str(folder), *engine, *arguments]
        done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
        if done.returncode not in {0, 1}:
            sys.exit(f"{name}: pytest ended with exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
        report = load_report(folder)
        # A model this small may begin to think and not end it: that is a failure on every engine, and may be a few.
        drawn = sum(len(row.samples) for row in report.results)
        if len(report.failures) > 0.05 * drawn or report.gate.verdict not in {"PASS", "FAIL"}:
            sys.exit(f"{name}: the report is not a judged one with few failures ({report.gate.verdict})\n{done.stdout}")
        engine_says = report.provenance.engine
        seeds = f", seeds: {engine_says.server.repeats}" if engine_says.server else ""
        print(
            f"{name}: {report.gate.verdict}, relevance {report.statistics.figure('jarvis_relevance').base:.4f} -> "
            f"{report.statistics.figure('jarvis_relevance').finetuned:.4f}, batching: {engine_says.batching}{seeds}, "
            f"{time.perf_counter() - started:.0f} s",
            flush=True,
        )
        return report


def main() -> None:
    """Read the command line and run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", type=Path, required=True, metavar="PYTHON", help="of an environment that holds vLLM")
    parser.add_argument("--pair", type=Path, metavar="DIR", help="a pair that dense_pair.py made before, with --merged")
    options = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1")
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(work=Path(work), pair=options.pair or Path(work) / "pair")
        started = time.perf_counter()
        if options.pair is None:
            make_pair(bench.pair, seed=SEED, base_steps=BASE_STEPS, adapter_steps=ADAPTER_STEPS, merged=True)
            print(f"the pair is made, {time.perf_counter() - started:.0f} s", flush=True)
        check(bench, options.vllm)
        print(f"all of it: {time.perf_counter() - started:.0f} s", flush=True)


def check(bench: Bench, vllm: Path) -> None:
    """Run the pair in our own engine, then on each server, and compare."""
    base, adapter = str(bench.pair / "base"), str(bench.pair / "jarvis")
    local = ("--jarvis-model", base, "--jarvis-adapter", adapter)
    drawn = bench.run("transformers-engine", *local, greedy=False)
    greedy = bench.run("transformers-engine-greedy", *local, greedy=True)
    served = ("--jarvis-model", "base", "--jarvis-adapter", "jarvis")
    with serve_vllm(bench, vllm, spare_slot=True) as url:
        agree(drawn, bench.run("vllm", *served, greedy=False, url=url))
        same_texts(greedy, bench.run("vllm-greedy", *served, greedy=True, url=url))
    with serve_vllm(bench, vllm, spare_slot=False) as url:
        same_texts(greedy, bench.run("vllm-without-a-spare-slot", *served, greedy=True, url=url))
    with serve_transformers(bench) as url:
        served = ("--jarvis-model", "tiny/base", "--jarvis-adapter", "jarvis=tiny/merged")
        same_texts(greedy, bench.run("transformers-serve", *served, greedy=True, url=url))


def agree(one: Report, other: Report) -> None:
    """Compare each arm's mean relevance; end the script when a difference is shown."""
    for arm in ("base", "jarvis"):
        scores = [
            {
                row.prompt_id: [sample.score("jarvis_relevance") or 0.0 for sample in row.of_arm(arm)]
                for row in run.results
            }
            for run in (one, other)
        ]
        # A prompt whose responses all failed on one of them has nothing to compare.
        shared = [name for name, found in scores[0].items() if found and scores[1].get(name)]
        first, second = ([run[name] for name in shared] for run in scores)
        difference = compare(first, second, alpha=ALPHA, shared_noise=False)
        low, high = difference.interval or (0.0, 0.0)
        print(f"  {arm}: relevance differs by {difference.difference:+.4f} [{low:+.4f}, {high:+.4f}]", flush=True)
        if not low <= 0 <= high:
            sys.exit(f"the relevance of '{arm}' is not that of our own engine")


def same_texts(one: Report, other: Report) -> None:
    """Count equal greedy texts; end the script when too few are."""
    texts = [
        {(row.prompt_id, sample.arm): sample.text for row in run.results for sample in row.samples}
        for run in (one, other)
    ]
    same = sum(texts[1].get(key) == text for key, text in texts[0].items())
    print(f"  greedy texts: {same} of {len(texts[0])} are those of our own engine", flush=True)
    if same < LEAST_SAME * len(texts[0]):
        sys.exit("too few greedy texts are those of our own engine")


@contextmanager
def serve_vllm(bench: Bench, python: Path, *, spare_slot: bool) -> Iterator[str]:
    """Serve the pair with vLLM, the adapter as a LoRA module; give its address."""
    port = free_port()
    command = [str(python.with_name("vllm")), "serve", str(bench.pair / "base"), "--served-model-name", "base"]
    command += ["--enable-lora", "--max-loras", "2" if spare_slot else "1"]
    command += ["--lora-modules", f"jarvis={bench.pair / 'jarvis'}"]
    command += ["--dtype", "float32", "--max-model-len", "512", "--enforce-eager"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
    }
    environment.pop("PYTHONPATH", None)
    with serving("vLLM", command, environment, bench.work / "vllm.log", f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def serve_transformers(bench: Bench) -> Iterator[str]:
    """Serve the base, and the base with the adapter's product added, with `transformers serve`; give its address.

    It lists what is in the hub's cache and knows no adapters, so the pair is put there as two models.
    """
    cache = bench.work / "cache"
    for name in ("base", "merged"):
        place = cache / f"models--tiny--{name}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text("0" * 40, encoding="utf-8")
        shutil.copytree(bench.pair / name, place / "snapshots" / ("0" * 40))
    port = free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_CACHE": str(cache)}
    url = f"http://127.0.0.1:{port}"
    with serving(
        "transformers serve", [*command, "--device", "cpu"], environment, bench.work / "serve.log", f"{url}/health"
    ):
        yield f"{url}/v1"


@contextmanager
def serving(name: str, command: Sequence[str], environment: dict[str, str], log: Path, health: str) -> Iterator[None]:
    """Run a server until the block ends, waited for before; say what its log ends with when it does not come up."""
    started = time.perf_counter()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
    try:
        while not answers(health):
            if process.poll() is not None or time.perf_counter() - started > READY_S:
                sys.exit(f"{name} did not come up:\n{log.read_text(encoding='utf-8')[-3000:]}")
            time.sleep(0.5)
        print(f"{name} is up, {time.perf_counter() - started:.0f} s", flush=True)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Tell whether a server answers well."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
