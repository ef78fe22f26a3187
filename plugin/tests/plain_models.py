"""Models as transformers loads them, in 32 bits: what the engine's logits are held against."""

from pathlib import Path
from typing import Any

import numpy as np


def plain_model(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def quantised_after_load(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The plain model with its expert and linear weights through NF4 and back, and each one's packed form."""
    import bitsandbytes.functional as bnb
    import torch

    model = plain_model(folder)
    packed = {}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            exact = ".router." in name or name.endswith((".gate.weight", "bias"))
            if weight.ndim == 3 or (weight.ndim == 2 and ".layers." in name and not exact):
                code, state = bnb.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
                packed[name] = (code, state)
                weight.copy_(bnb.dequantize_4bit(code, state))
    return model, packed


def plain_logits(engine: Any, model: Any, texts: list[str]) -> Any:
    """The logits of such a model, one prompt at a time and without padding."""
    import torch

    rows = []
    for text in texts:
        with torch.inference_mode():
            rows.append(model(torch.tensor([engine._chat.encode(text)])).logits[0, -1].numpy())
    return np.stack(rows)
