"""The engine on GPUs that are simulated: what runs there, in which memory, and what may not be done there.

Each file of `on_gpus` is a session of its own: the simulation is there for a whole process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "on_gpus"
FILES = sorted(file.name for file in FOLDER.glob("on_gpu_*.py"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulation, compiled; skipped where it cannot be, or under JARVIS_REQUIRE_COMPILER=1 an error."""
    required = os.environ.get("JARVIS_REQUIRE_COMPILER") == "1"
    compiler = shutil.which("c++")
    if sys.platform != "linux" or compiler is None:
        if required:
            pytest.fail("JARVIS_REQUIRE_COMPILER=1, and there is no C++ compiler")
        pytest.skip("a C++ compiler on Linux simulates GPUs")
    if find_spec("torch.version") and import_module("torch.version").cuda is not None:
        pytest.skip("this torch is built with CUDA: the simulation takes the place of what it lacks")
    sys.path.insert(0, str(FOLDER))
    try:
        build = import_module("simulated_gpus").build
    finally:
        sys.path.remove(str(FOLDER))
    built: Path = build(tmp_path_factory.mktemp("simulated"), compiler)
    return built


@pytest.mark.parametrize("file", FILES)
def test_on_simulated_gpus(library: Path, file: str) -> None:
    environment = {**os.environ, "JARVIS_SIMULATED_GPUS": str(library), "PYTHONPATH": str(FOLDER)}
    session = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "simulated_gpus", "-p", "no:cacheprovider", "-n", "0", FOLDER / file],
        capture_output=True,
        encoding="utf-8",
        env=environment,
        check=False,
    )
    assert 0 == session.returncode, session.stdout[-6000:] + session.stderr[-2000:]
