"""What the plugin itself costs per prompt, in time, memory and disk, and whether a large report still opens.

    python benchmarks/scale.py                  # 300, 3,000 and 30,000 prompts; a few minutes
    python benchmarks/scale.py --prompts 3000 --samples 1

Each size runs in processes of its own: bare pytest over as many parametrized tests that do nothing, then the same tests
with the scripted engine and a report. Times are CPU times (user and system), which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BAR_S = 0.002
"""Seconds of CPU per prompt over bare pytest."""
CATEGORIES = 10
TOOLS = """
[[tools]]
name = "open_app_tool"
description = "Ouvrir une application."
terms = ["ouvre", "application", "logiciel", "lance"]
parameters = { type = "object" }
"""
BARE_TEST = """
import pytest

@pytest.mark.parametrize("number", range({prompts}))
def test_prompt(number):
    assert number >= 0
"""
JARVIS_TEST = """
def test_prompt(jarvis_case, jarvis_measure):
    measured = jarvis_measure(jarvis_case)
    assert measured.is_complete, measured.problems
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a process cost."""

    cpu_s: float
    peak_bytes: int


def write_project(folder: Path, prompts: int, samples: int | None, formats: list[str]) -> None:
    """Write a project of so many prompts in ten categories, and one test for them."""
    (folder / "jarvis_prompts").mkdir(parents=True)
    config: dict[str, object] = {"output": {"formats": formats}}
    if samples is not None:
        config["benchmark"] = {"samples": samples}
    (folder / "benchmark_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "jarvis_prompts" / "tools.toml").write_text(TOOLS, encoding="utf-8")
    count = min(CATEGORIES, prompts)
    for category in range(count):
        blocks = [
            f'[[prompts]]\nid = "p{number}"\ntext = "ouvre le dossier {number}"\nkeywords = ["dossier", "ouvre"]\n'
            f'expected_tool = "open_app_tool"\n'
            for number in range(category, prompts, count)
        ]
        (folder / "jarvis_prompts" / f"c{category}.toml").write_text("\n".join(blocks), encoding="utf-8")
    (folder / "test_prompts.py").write_text(JARVIS_TEST, encoding="utf-8")


def write_bare_project(folder: Path, prompts: int) -> None:
    """Write a project of as many tests that do nothing."""
    folder.mkdir(parents=True)
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "test_bare.py").write_text(BARE_TEST.format(prompts=prompts), encoding="utf-8")


def run(folder: Path, *command: str) -> Cost:
    """Run a command of this Python and return what it cost; stop at one that fails."""
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} failed:\n{(folder / 'output.txt').read_text(encoding='utf-8')[-3000:]}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Cost(cpu_s=usage.ru_utime + usage.ru_stime, peak_bytes=peak)


def pytest_run(folder: Path, *options: str) -> Cost:
    """Run pytest quietly, without plugins but the one named."""
    return run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options)


def jarvis_run(folder: Path, adapters: int) -> Cost:
    """Run the project's benchmark with the scripted engine and a report."""
    named = [part for number in range(adapters) for part in ("--jarvis-adapter", f"a{number}=demo:jarvis")]
    options = ("-p", "pytest_jarvis.plugin", "--jarvis-engine", "scripted", "--jarvis-report-dir", "out")
    return pytest_run(folder, *options, *named)


def dom_size(page: Path) -> tuple[float, int] | None:
    """Return the seconds a headless browser takes to open the page, and the bytes of its DOM; None without one."""
    browser = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        return None
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--timeout=120000", "--dump-dom")
    started = time.perf_counter()
    done = subprocess.run([browser, *options, page.as_uri()], capture_output=True, check=False)
    return time.perf_counter() - started, len(done.stdout)


def measure(prompts: int, samples: int | None, adapters: int) -> float:
    """Print a line of figures for one size; return the seconds of CPU per prompt over bare pytest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bare_project(folder / "bare", prompts)
        bare = pytest_run(folder / "bare")
        write_project(folder / "jarvis", prompts, samples, formats=[])
        ours = jarvis_run(folder / "jarvis", adapters)
        out = folder / "jarvis" / "out"
        loading = run(folder, "-c", f"from pytest_jarvis import load_report; load_report({str(out)!r})")
        files = run(folder, "-m", "pytest_jarvis.cli", "analyze", str(out), "--format", "text,html,markdown")
        opened = dom_size(out / "report.html")
        each = (ours.cpu_s - bare.cpu_s) / prompts
        sizes = {file: (out / file).stat().st_size for file in ("report.json", "report.html", "report.txt")}
        browser = "–" if opened is None else f"{opened[0]:.1f} s, {opened[1] / 1e6:.1f} MB"
        print(
            f"{prompts:>7} prompts, {adapters:>3} adapters | bare {bare.cpu_s:7.2f} s | with {ours.cpu_s:7.2f} s"
            f" | {each * 1000:5.2f} ms each"
            f" | peak {ours.peak_bytes / 1e6:6.0f} MB (bare {bare.peak_bytes / 1e6:.0f})"
            f" | json {sizes['report.json'] / 1e6:.1f} MB, html {sizes['report.html'] / 1e6:.1f} MB"
            f" | load {loading.cpu_s:.2f} s | files {files.cpu_s:.2f} s, {files.peak_bytes / 1e6:.0f} MB"
            f" | browser {browser}",
            flush=True,
        )
    return each


def main() -> int:
    """Measure the sizes asked for; exit 1 where a prompt of the largest costs more than the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="+", default=[300, 3000, 30000])
    parser.add_argument("--samples", type=int, help="responses per prompt and arm (default: looks, which stop at 4)")
    parser.add_argument("--adapters", type=int, default=1)
    options = parser.parse_args()
    costs = [measure(prompts, options.samples, options.adapters) for prompts in options.prompts]
    return int(costs[-1] > BAR_S)


if __name__ == "__main__":
    sys.exit(main())
