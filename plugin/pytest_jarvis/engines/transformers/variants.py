"""LoRA variants that cannot stand beside their base on the same weights: each is refused by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_jarvis.lora_config import PLAIN_INITS, asks_for, unlike_plain
from pytest_jarvis.records import EngineError

_CHANGING_INITS: Final = ("pissa", "olora", "corda", "lora_ga")
"""Those that take a part out of the base's weights first: what is saved is no change of the base that was loaded."""
_WHY: Final[Mapping[str, str]] = {
    "layer_replication": "it repeats layers of the base",
    "alora_invocation_tokens": "it works from certain tokens of a prompt on only (aLoRA)",
    "kasa_config": "it cuts the base's weights down (KaSA)",
    "monteclora_config": "it adds random samples to its weights (MonteCLoRA)",
    "arrow_config": "it chooses among other adapters (Arrow)",
    "megatron_config": "it is made for the layers of Megatron",
}
_UNQUANTIZED_ONLY: Final[Mapping[str, str]] = {
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "velora_config": "VeLoRA",
}


def refuse_variants(name: str, config: Mapping[str, Any]) -> None:
    """Raise EngineError when an adapter's configuration asks for more than to add a product to weights of the base."""
    fault = unlike_plain(config)
    if fault is None:
        return
    if fault.key == "init_lora_weights":
        raise EngineError(
            f"adapter '{name}': it was trained with init_lora_weights {_why_not_begun(config[fault.key])}"
        )
    raise EngineError(
        f"adapter '{name}': {_WHY[fault.key]}, by {fault.key} in its configuration, so base and adapter cannot be "
        "compared on the same weights; train a plain LoRA, or take another adapter"
    )


def refuse_variants_in_4_bits(name: str, config: Mapping[str, Any]) -> None:
    """Raise EngineError for a variant that peft computes right on weights in 16 or 32 bits only."""
    for key, said in _UNQUANTIZED_ONLY.items():
        if asks_for(config, key):
            raise EngineError(
                f"adapter '{name}': a {said} ({key} in its configuration) works on a base that is not quantised only; "
                "set quantization to 'none', or take another adapter"
            )


def _why_not_begun(init: str) -> str:
    """Return how a training began, and why what came of it cannot be used: the end of a sentence."""
    if init.lower().startswith(_CHANGING_INITS):
        return (
            f"{init!r}, which changes the base's weights first, so it cannot be right on the base as it is; save it "
            "with save_pretrained(..., path_initial_model_for_weight_conversion=...), which makes a plain LoRA of it"
        )
    if init.lower() == "loftq":
        return (
            f"{init!r}, which puts other weights in the place of the base's, so it cannot be right on the base as it "
            "is; take the base that LoftQ made as the base here, with init_lora_weights true"
        )
    known = ", ".join(PLAIN_INITS)
    return f"{init!r}, which is not known here to leave the base as it is; known: true, false, {known}"
