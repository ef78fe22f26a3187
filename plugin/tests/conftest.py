"""How the tests of all folders run, and the fixtures that they share."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

sys.path.insert(0, str(Path(__file__).parent))
"""Where `samples`, `runs` and `reports` are."""
MOST_WORKERS = 4
"""Processes that the tests are shared out to: each imports torch and loads its models anew."""
SLOW = "simulated GPUs, a browser, kernels of Triton, an installed wheel"
LEFT_OUT = pytest.StashKey[int]()
LEFT_OUT_BY_WORKER = "slow_tests_left_out"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that runs everything."""
    parser.addoption("--slow", action="store_true", help=f"also run the tests marked slow: {SLOW}")


def _names_folders_only(config: pytest.Config) -> bool:
    return all(Path(name).is_dir() for name in config.args)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the files of a folder out to the cores; a file or a test by name runs here, as does `-n 0`."""
    workers = min(MOST_WORKERS, os.cpu_count() or 1)
    chosen = getattr(config.option, "numprocesses", 0) is not None or config.option.usepdb or config.option.collectonly
    if chosen or workers < 2 or hasattr(config, "workerinput") or not _names_folders_only(config):
        return
    config.option.numprocesses = workers
    config.option.dist = "loadfile"


def pytest_configure(config: pytest.Config) -> None:
    """Have a session that a test starts take itself for no worker of ours."""
    config.addinivalue_line("markers", f"slow: runs with --slow, or when its file is named: {SLOW}")
    # Workers do not know themselves for what they are, so syrupy waits for their lists of snapshots in vain.
    config.addinivalue_line("filterwarnings", "ignore:syrupy. received:UserWarning")
    if hasattr(config, "workerinput"):
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
            del os.environ[name]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let every other worker take its files from the end: torch is imported by as few workers as can be."""
    from xdist.scheduler import LoadFileScheduling

    class FromBothEnds(LoadFileScheduling):
        def _assign_work_unit(self, node: Any) -> None:
            if self.nodes.index(node) % 2:
                self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
            super()._assign_work_unit(node)

    config.option.loadscopereorder = False
    return FromBothEnds(config, log) if config.option.dist == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take from a worker how many tests it left out: each of them leaves out the same."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get(LEFT_OUT_BY_WORKER, 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what did not run, and how to run it."""
    if left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"{left_out} slow tests were left out ({SLOW}); --slow runs them too")


@pytest.fixture(scope="session")
def make_report() -> Any:
    """Return what makes synthetic reports."""
    from reports import ReportMaker

    return ReportMaker()


class Golden(SingleFileSnapshotExtension):
    """A text file for each test and report; `pytest -n 0 --snapshot-update` writes them anew."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


@pytest.fixture
def golden(snapshot) -> SnapshotAssertion:
    """Return what compares with the golden files."""
    return snapshot.use_extension(Golden)


WARNINGS = (
    "error",
    # torch's own, when it is imported; gone when torch no longer scripts its helpers.
    "ignore:.torch.jit.script:DeprecationWarning",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow tests out of a folder, and make warnings errors: not so for a user's benchmark."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for rule in reversed(WARNINGS):
                item.add_marker(pytest.mark.filterwarnings(rule), append=False)
    if config.option.slow or not _names_folders_only(config):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if not item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    config.stash[LEFT_OUT] = len(slow)
    if hasattr(config, "workerinput"):
        config.workeroutput[LEFT_OUT_BY_WORKER] = len(slow)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def no_step_summary(monkeypatch) -> None:
    """Keep the tests' reports out of the summary of the CI job that runs them."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
