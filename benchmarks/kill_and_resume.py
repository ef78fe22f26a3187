"""Kill a real run of the embedded pair at random moments, resume it, and compare with a run that was left alone.

Each process is `pytest tests/ --jarvis-report --jarvis-reuse` on one store, killed (SIGKILL; on Windows
TerminateProcess) after a random number of responses, such that the kills spread over the whole run, and a random
moment more. What the engine gave before is written down beside, past every cache of Python, so that what the store
lacks can be counted. The last process is left to its end. Prints what was lost, and whether the two reports are the
same but for times, memory and the marks of reuse; the exit status is 1 when they are not, or when a kill cost more than
the batch in flight.

    python benchmarks/kill_and_resume.py [--kills 20] [--seed 0] [--samples 16]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BATCH = 8
ARMS = 2
PROMPTS = 30
APART = {
    "commit",
    "dirty",
    "seconds",
    "first_token_s",
    "timestamp",
    "digest",
    "timings_s",
    "memory",
    "loaded_memory",
    "allocated_bytes",
}
APART |= {
    "peak_bytes",
    "reused",
    "responses_reused",
    "responses_generated",
    "avg_seconds_base",
    "avg_seconds_finetuned",
}
WATCH = """
import os
from pytest_jarvis.run.store import ResponseCache

_journal = os.open(os.environ["JARVIS_JOURNAL"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
_put, _open = ResponseCache.put, ResponseCache.start

def open_cache(self, engine, description):
    _open(self, engine, description)
    os.write(_journal, b"loaded\\n")

def put(self, request, response):
    os.write(_journal, f"{request.prompt_id} {request.arm} {request.replicate}\\n".encode())
    _put(self, request, response)

ResponseCache.put, ResponseCache.start = put, open_cache
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a process is killed: so many responses after it began to draw, and so many seconds more."""

    after: int
    wait_s: float


def main() -> int:
    """Kill, resume, compare; return 0 when nothing was lost but what was in flight and the reports agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=16)
    options = parser.parse_args()
    draw = random.Random(options.seed)  # noqa: S311  # no secret
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "watch_the_store.py").write_text(WATCH, encoding="utf-8")
        lost = most_lost = 0
        held = 0
        for number in range(options.kills):
            left = ARMS * PROMPTS * options.samples - held
            most = 2 * left // (options.kills - number + 1)
            moment = Moment(after=draw.randint(0, most), wait_s=draw.uniform(0, 0.1))
            missing, held, killed = kill_once(folder, number, options.samples, moment)
            lost, most_lost = lost + missing, max(most_lost, missing)
            print(
                f"kill {number + 1}: {'killed' if killed else 'ended first'}, {held} held, {missing} lost", flush=True
            )
        start(folder, "resumed", "store", options.samples).wait()
        start(folder, "alone", "other", options.samples).wait()
        reports = [json.loads((folder / run / "report.json").read_text("utf-8")) for run in ("resumed", "alone")]
    reused = reports[0]["provenance"]["responses_reused"]
    same = without(reports[0]) == without(reports[1])
    print(f"lost in all: {lost}, at most {most_lost} by one kill (a batch in flight is {BATCH})")
    print(f"reused by the last run: {reused}; the reports are {'the same' if same else 'NOT the same'}")
    return 0 if same and most_lost <= BATCH else 1


def start(folder: Path, report: str, store: str, samples: int) -> subprocess.Popen[bytes]:
    """Start a run that resumes what `store` holds."""
    config = {
        "output": {"store": str(folder / f"{store}.sqlite"), "formats": []},
        "benchmark": {"prompts": str(ROOT / "jarvis_prompts")},
    }
    file = folder / f"{store}.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pytest", "tests/", "-q", "-p", "no:cacheprovider", "-p", "watch_the_store"),
        *("--jarvis-config", str(file), "--jarvis-report-dir", str(folder / report), "--jarvis-reuse"),
        *("--jarvis-samples", str(samples), "--jarvis-batch-size", str(BATCH)),
    ]
    path = os.pathsep.join(part for part in (str(folder), os.environ.get("PYTHONPATH")) if part)
    environment = {**os.environ, "PYTHONPATH": path, "JARVIS_JOURNAL": str(folder / f"{store}.journal")}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def kill_once(folder: Path, number: int, samples: int, moment: Moment) -> tuple[int, int, bool]:
    """Start a run, kill it, and return (responses the store lost, responses it holds, whether it was killed)."""
    journal = folder / "store.journal"
    before = len(journal_of(journal))
    process = start(folder, f"killed-{number}", "store", samples)
    # One line says that the model is loaded, then one is written for each response.
    while process.poll() is None and len(journal_of(journal)) < before + 1 + moment.after:
        time.sleep(0.02)
    time.sleep(moment.wait_s)
    killed = process.poll() is None
    process.kill()
    process.wait()
    given = {line for line in journal_of(journal) if line != "loaded"}
    with closing(sqlite3.connect(folder / "store.sqlite")) as connection:
        if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise SystemExit(f"kill {number + 1}: the store is damaged")
        rows = connection.execute(
            "SELECT prompt_id, CASE WHEN adapter IS NULL THEN 'base' ELSE 'jarvis' END, replicate "
            "FROM responses JOIN arms ON arms.id = responses.arm"
        ).fetchall()
    held = {f"{prompt} {arm} {replicate}" for prompt, arm, replicate in rows}
    return len(given - held), len(held), killed


def journal_of(file: Path) -> list[str]:
    """Return the whole lines of the journal; none where there is none yet."""
    text = file.read_text("utf-8") if file.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def without(report: object) -> object:
    """Return a report without times, memory and marks of reuse."""
    if isinstance(report, dict):
        return {name: without(value) for name, value in report.items() if name not in APART}
    return [without(value) for value in report] if isinstance(report, list) else report


if __name__ == "__main__":
    sys.exit(main())
