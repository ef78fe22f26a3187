"""A real run of the embedded pair that is killed loses nothing it had drawn; twenty kills are in `benchmarks/`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from pytest_jarvis.store import ResponseStore

ROOT = Path(__file__).parents[3]
APART = {
    *("seconds", "first_token_s", "timestamp", "timings_s", "memory", "loaded_memory", "commit", "dirty"),
    *("avg_seconds_base", "avg_seconds_finetuned", "reused", "responses_reused", "responses_generated"),
}


def start(folder: Path, report: str, store: str) -> subprocess.Popen[bytes]:
    """Start a run of ten prompts that keeps and reuses responses in `store`."""
    config = {
        "output": {"store": str(folder / store), "formats": []},
        "benchmark": {"prompts": str(ROOT / "jarvis_prompts"), "samples": 2},
        "generation": {"batch_size": 4},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", "tests/", "-k", "corrections_vocales", "-q", "-p", "no:cacheprovider"),
            *("--jarvis-config", str(folder / "config.json"), "--jarvis-report-dir", str(folder / report)),
            "--jarvis-reuse",
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )


def held(file: Path) -> int:
    with closing(ResponseStore(file, writable=False)) as store:
        return store.stats().responses


def without_marks(report: object) -> object:
    """Return a report without times, memory and marks of reuse."""
    if isinstance(report, dict):
        return {name: without_marks(value) for name, value in report.items() if name not in APART}
    return [without_marks(value) for value in report] if isinstance(report, list) else report


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict, dict]:
    """How many responses a killed run had kept, the report of the run that resumed it, and that of one left alone."""
    folder = tmp_path_factory.mktemp("killed")
    store = folder / "store.sqlite"
    process = start(folder, "killed", store.name)
    while process.poll() is None and not (store.exists() and held(store)):
        time.sleep(0.02)
    process.kill()
    process.wait()
    kept = held(store)
    for name, used in (("resumed", store.name), ("alone", "other.sqlite")):
        assert start(folder, name, used).wait() in {0, 1}
    resumed, alone = (json.loads((folder / name / "report.json").read_text("utf-8")) for name in ("resumed", "alone"))
    assert not (folder / "killed" / "report.json").exists()
    return kept, resumed, alone


def test_what_a_killed_run_had_kept_is_not_drawn_again(reports: tuple[int, dict, dict]) -> None:
    kept, resumed, alone = reports
    planned = sum(alone["provenance"]["responses_generated"].values())
    assert 0 < kept < planned
    assert sum(resumed["provenance"]["responses_reused"].values()) == kept
    assert sum(resumed["provenance"]["responses_generated"].values()) == planned - kept


def test_a_resumed_run_reports_what_an_uninterrupted_one_does(reports: tuple[int, dict, dict]) -> None:
    _, resumed, alone = reports
    assert without_marks(resumed) == without_marks(alone)
