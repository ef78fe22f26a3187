"""The engine that asks an OpenAI-compatible server: vLLM, SGLang, llama.cpp and their like. Needs no torch."""

from __future__ import annotations

from pytest_jarvis.engines.server.engine import ServerEngine

__all__ = ["ServerEngine"]
