"""The embedded pair: a miniature base model and its LoRA adapters, shipped with the package and found from here."""

from pathlib import Path
from typing import Final

DISPLAY_NAME: Final = "modèle de démonstration embarqué"
ADAPTERS: Final = ("jarvis", "faible")
_FOLDER = Path(__file__).resolve().parent


def base_path() -> Path:
    """Give the folder of the base model, ready for `from_pretrained`."""
    return _FOLDER / "base"


def adapter_path(name: str) -> Path:
    """Give the folder of an adapter of the embedded pair.

    Raises ValueError, with the known names, when there is no such adapter.
    """
    if name not in ADAPTERS:
        raise ValueError(f"demo:{name}: unknown adapter of the embedded pair; known adapters: {', '.join(ADAPTERS)}")
    return _FOLDER / "adapters" / name
