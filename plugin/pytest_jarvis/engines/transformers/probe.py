"""What torch itself says of this machine: the one part of `pytest-jarvis check` that has to import it."""

from __future__ import annotations


def probe() -> tuple[bool, tuple[str, ...], str | None]:
    """Return whether CUDA can be used, the devices, and why a product in 4 bits failed on one of them, or None."""
    try:
        import torch
    except Exception as error:  # noqa: BLE001  # a broken installation raises whatever it likes
        return False, (), f"import torch: {type(error).__name__}: {_brief(error)}"
    cuda = torch.cuda.is_available()
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if cuda else ["cpu"]
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if cuda else ["CPU"]
    try:
        import bitsandbytes.functional as bnb

        for device in devices:
            weights = torch.eye(64, dtype=torch.float32, device=device)
            packed, state = bnb.quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
            product = weights @ bnb.dequantize_4bit(packed, state)
            if not torch.allclose(product, weights):
                return cuda, tuple(names), f"{device}: NF4 does not give back what it was given"
    except Exception as error:  # noqa: BLE001  # as above: a driver, a kernel or a library that does not fit
        return cuda, tuple(names), f"{type(error).__name__}: {_brief(error)}"
    return cuda, tuple(names), None


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
