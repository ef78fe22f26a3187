"""The engine that runs a base model and its adapters in this process, with torch, transformers and peft.

A ladder, each rung on those after it: `engine`, `proof` (adapters active, base unchanged), `generation` (batches),
`lora` (adapters attached), `loading` (files to a model), `nf4` (4-bit weights), `checkpoint` (tensors in files).
"""

from pytest_jarvis.engines.base import EngineKind

ENGINE = EngineKind(
    build="pytest_jarvis.engines.transformers.engine:TransformersEngine",
    needs=("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "psutil"),
    extra="local",
    holds_model=True,
)
