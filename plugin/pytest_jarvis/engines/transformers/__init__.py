"""The engine that runs a base model and its adapters in this process, with torch, transformers and peft."""

from __future__ import annotations

from pytest_jarvis.engines.base import EngineKind

ENGINE = EngineKind(
    build="pytest_jarvis.engines.transformers.engine:TransformersEngine",
    needs=("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "psutil"),
    extra="local",
    holds_model=True,
)
