"""Compare collecting this benchmark with collecting as many tests of a project that does not use the plugin.

The other project has the same settings of pytest and as many tests in files of the same names. Prints the ratio of
processor times, which depend less than seconds on what else runs, over alternating pairs of processes, after one of
each that fills the caches: median, lowest and highest. Not for Windows, which has no times of child processes.

    python benchmarks/collection.py [--pairs 25]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
COLLECT = (sys.executable, "-m", "pytest", "tests/", "--collect-only", "-q")


def collect(folder: Path, *options: str) -> tuple[float, str]:
    """Return the processor time of a collection, in seconds, and what it printed."""
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*COLLECT, *options], cwd=folder, env=settings, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    """Run the pairs and print their times and ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=25)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as made:
        bare = Path(made)
        (bare / "tests").mkdir()
        shutil.copy(ROOT / "pytest.ini", bare)
        counts = Counter(line.partition("::")[0] for line in collect(ROOT)[1].splitlines() if "::" in line)
        for file, count in counts.items():
            test = f"import pytest\n\n\n@pytest.mark.parametrize('n', range({count}))\ndef test_one(n): pass\n"
            (bare / file).write_text(test)
        collect(bare, "-p", "no:jarvis")
        times = [(collect(bare, "-p", "no:jarvis")[0], collect(ROOT)[0]) for _ in range(pairs)]
    ratios = [ours / theirs for theirs, ours in times]
    print(f"{platform.platform()}, Python {platform.python_version()}: {counts.total()} tests, {pairs} pairs")
    print(f"bare pytest {median(t for t, _ in times):.3f} s, this benchmark {median(t for _, t in times):.3f} s")
    print(f"ratio: median {median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
