"""The engine on GPUs that are simulated: what runs there, in which memory, and what may not be done there.

Each file of `on_gpus` is a session of its own: the simulation is there for a whole process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import pytest

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parent / "on_gpus"
PATIENCE_S = 900
"""For a file, on a machine with much else to do."""
FILES = sorted(file.name for file in FOLDER.glob("on_gpu_*.py"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulation, compiled; skipped where it cannot be, or under JARVIS_REQUIRE_COMPILER=1 an error."""
    compiler = shutil.which("c++")
    if sys.platform != "linux" or compiler is None:
        _do_without("a C++ compiler on Linux simulates GPUs")
    if import_module("torch.version").cuda is not None:
        _do_without("this torch is built with CUDA: the simulation takes the place of what it lacks")
    sys.path.insert(0, str(FOLDER))
    try:
        build = import_module("simulated_gpus").build
    finally:
        sys.path.remove(str(FOLDER))
    try:
        built: Path = build(tmp_path_factory.mktemp("simulated"), str(compiler))
    except subprocess.CalledProcessError as error:
        _do_without(f"the compiler does not take the simulation: {error.stderr[-2000:]}")
    return built


def _do_without(why: str) -> NoReturn:
    """Skip, or fail where the simulation is required."""
    if os.environ.get("JARVIS_REQUIRE_COMPILER") == "1":
        pytest.fail(f"JARVIS_REQUIRE_COMPILER=1, but {why}")
    pytest.skip(why)


def test_there_is_something_to_run_on_gpus() -> None:
    assert ["on_gpu_memory.py", "on_gpu_steps.py"] == FILES


@pytest.mark.parametrize("file", FILES)
def test_on_simulated_gpus(library: Path, file: str) -> None:
    paths = os.pathsep.join([str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])])
    session = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "simulated_gpus", "-p", "no:cacheprovider", "-n", "0", FOLDER / file],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "JARVIS_SIMULATED_GPUS": str(library), "PYTHONPATH": paths},
        check=False,
        timeout=PATIENCE_S,
    )
    assert 0 == session.returncode, session.stdout[-6000:] + session.stderr[-2000:]
