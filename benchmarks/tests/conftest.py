"""The scripts beside this folder, importable by name, and the libraries that run models."""

import gc
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make warnings errors, but for torch's own when it is imported."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for rule in ("ignore:.torch.jit.script:DeprecationWarning", "error"):
                item.add_marker(pytest.mark.filterwarnings(rule), append=False)


@pytest.fixture(scope="session")
def libraries() -> None:
    """Import what runs models, and keep it out of the collector's rounds."""
    from pytest_jarvis.engines.transformers.loading.base import quiet_libraries

    with quiet_libraries("error"):
        import transformers.models.qwen3_moe.modeling_qwen3_moe  # noqa: F401
    gc.freeze()
