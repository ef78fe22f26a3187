"""Four tests, in this order, that say in a minute whether models load and answer on this machine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_jarvis import ModelHandle

    Show = Callable[[str], None]

pytestmark = [
    pytest.mark.quick,
    # torch's own, as it is imported first here; nothing a user of this test can mend.
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
]


def test_imports() -> None:
    """All libraries of the models' half are here."""
    for name in ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors"):
        import_module(name)


def test_gpu_configuration(jarvis_show: Show) -> None:
    """A GPU is used when there is one; the CPU is fine, and said."""
    import torch

    if not torch.cuda.is_available():
        jarvis_show(f"Pas de GPU : tout se fait sur le processeur (fils de calcul : {torch.get_num_threads()}).")
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        jarvis_show(f"GPU {index} : {device.name}, {device.total_memory / 1e9:.1f} Go".replace(".", ","))
        assert device.total_memory > 0


def test_model_loading(base_model: ModelHandle, lora_models: Sequence[ModelHandle], jarvis_show: Show) -> None:
    """One base is loaded, and all arms are handles on it."""
    for model in lora_models:
        jarvis_show(f"{model.label} | {model.storage}")
        assert base_model.engine is model.engine


def test_generation(lora_models: Sequence[ModelHandle], jarvis_show: Show) -> None:
    """Each fine-tuned model answers a command."""
    for model in lora_models:
        answer = model.generate("ouvre chrome")
        named = f"{model.arm} : " if len(lora_models) > 1 else ""
        jarvis_show(f"{named}« ouvre chrome » → {answer.text[:100]}")
        assert answer.text
