"""The engine on GPUs that are simulated: what runs there, in which memory, and what may not be done there.

The files of `on_gpus` are a session of their own: the simulation is there for a whole process.
"""

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
"""On a machine with much else to do."""
FILES = [FOLDER / "on_gpu_steps.py", FOLDER / "on_gpu_memory.py"]


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> Path:
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


def test_on_simulated_gpus(library) -> None:
    paths = os.pathsep.join([str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])])
    session = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "simulated_gpus", "-p", "no:cacheprovider", "-n", "0", *FILES],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "JARVIS_SIMULATED_GPUS": str(library), "PYTHONPATH": paths},
        check=False,
        timeout=PATIENCE_S,
    )
    assert 0 == session.returncode, session.stdout[-6000:] + session.stderr[-2000:]
