"""Is this LoRA really a better JARVIS than its base? A pytest plugin that answers with a known error."""

from __future__ import annotations

__version__ = "0.1.0"
