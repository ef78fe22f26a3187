"""The engine that runs a base model and its adapters in this process, with torch, transformers and peft."""

from __future__ import annotations

from pytest_jarvis.engines.transformers.engine import TransformersEngine

__all__ = ["TransformersEngine"]
