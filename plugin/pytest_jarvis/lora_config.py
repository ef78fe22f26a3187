"""The values of a LoRA's configuration: of the kind that each key wants, before anything is made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Literal

Wanted = Literal[
    "rank",
    "number",
    "share",
    "flag",
    "names",
    "regex or names",
    "ranks",
    "numbers",
    "layers",
    "tokens",
    "bias",
    "init",
    "plain",
    "lora",
]

SAID: Final[Mapping[Wanted, str]] = {
    "rank": "a whole number from 1",
    "number": "a number",
    "share": "a number from 0 up to 1",
    "flag": "true or false",
    "names": "a list of names",
    "regex or names": "a list of names or a regular expression",
    "ranks": "a table of names, each with a whole number from 1",
    "numbers": "a table of names, each with a number",
    "layers": "the number of a layer or a list of such numbers",
    "tokens": "a list of token numbers, or a table of names with such lists",
    "bias": '"none", "all" or "lora_only"',
    "init": "true, false or the name of a method",
    "plain": "a LoRA that leaves its base as it is",
    "lora": '"LORA"',
}
"""What a key wants, for a sentence in English."""
PLAIN_INITS: Final = ("gaussian", "orthogonal", "eva", "mica")
"""Ways to begin a training that leave the base as it was: what is saved is a plain LoRA, however it began."""
_VARIANTS: Final = (
    "layer_replication",
    "alora_invocation_tokens",
    "kasa_config",
    "monteclora_config",
    "arrow_config",
    "megatron_config",
)
"""Keys that ask for more than to add a product to weights of the base."""
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A value of a configuration that cannot be used."""

    key: str
    found: str
    """The value as JSON, shortened."""
    wanted: Wanted

    def __str__(self) -> str:
        """Return the fault as a part of a sentence in English."""
        return f"{self.key} is {self.found}, expected {SAID[self.wanted]}"


def first_fault(config: Mapping[str, Any]) -> Fault | None:
    """Return the first value of a LoRA's configuration that is not of the kind its key wants; None when all are."""
    for key, wanted in _WANTED.items():
        value = config.get(key)
        if key not in config or (value is None and key not in _NEVER_NULL) or _FITS[wanted](value):
            continue
        return _fault(key, value, wanted)
    return None


def other_method(config: Mapping[str, Any]) -> Fault | None:
    """Return what peft calls another method than LoRA in a configuration; None for a LoRA's."""
    method = config.get("peft_type")
    return None if method == "LORA" else _fault("peft_type", method, "lora")


def unlike_plain(config: Mapping[str, Any]) -> Fault | None:
    """Return the first value that makes a LoRA more than a product beside weights of its base; None for a plain one.

    Such an adapter and its base cannot be compared on the same weights.
    """
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in PLAIN_INITS:
        return _fault("init_lora_weights", init, "plain")
    return next((_fault(key, config[key], "plain") for key in _VARIANTS if asks_for(config, key)), None)


def asks_for(config: Mapping[str, Any], key: str) -> bool:
    """Tell whether a key asks for its variant; an empty table of settings does, with all settings at their defaults."""
    value = config.get(key)
    return bool(value) or isinstance(value, dict)


def _fault(key: str, value: object, wanted: Wanted) -> Fault:
    found = json.dumps(value, ensure_ascii=False, default=str)
    return Fault(key=key, found=found if len(found) <= _LONGEST else f"{found[:_LONGEST]}…", wanted=wanted)


def _is_whole(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_rank(value: object) -> bool:
    return _is_whole(value, 1)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


def _is_regex(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _are(kind: Callable[[object], bool], value: object) -> bool:
    return isinstance(value, list) and all(kind(one) for one in value)


def _are_names(value: object) -> bool:
    return _are(lambda one: isinstance(one, str) and one != "", value)


def _are_regex_or_names(value: object) -> bool:
    return _is_regex(value) or _are_names(value)


def _are_layers(value: object) -> bool:
    return _is_whole(value) or _are(_is_whole, value)


def _by_name(kind: Callable[[object], bool], value: object) -> bool:
    return isinstance(value, dict) and all(_is_regex(name) and kind(one) for name, one in value.items())


def _are_tokens(value: object) -> bool:
    return _are(_is_whole, value) or _by_name(lambda one: _are(_is_whole, one), value)


_FITS: Final[Mapping[Wanted, Callable[[Any], bool]]] = {
    "rank": _is_rank,
    "number": _is_number,
    "share": _is_share,
    "flag": lambda value: isinstance(value, bool),
    "names": _are_names,
    "regex or names": _are_regex_or_names,
    "ranks": lambda value: _by_name(_is_rank, value),
    "numbers": lambda value: _by_name(_is_number, value),
    "layers": _are_layers,
    "tokens": _are_tokens,
    "bias": lambda value: value in ("none", "all", "lora_only"),
    "init": lambda value: isinstance(value, bool | str),
    "plain": lambda _: True,
    "lora": lambda value: value == "LORA",
}
_WANTED: Final[Mapping[str, Wanted]] = {
    "r": "rank",
    "lora_alpha": "number",
    "lora_dropout": "share",
    "target_modules": "regex or names",
    "exclude_modules": "regex or names",
    "target_parameters": "names",
    "modules_to_save": "names",
    "rank_pattern": "ranks",
    "alpha_pattern": "numbers",
    "layers_to_transform": "layers",
    "layers_pattern": "regex or names",
    "trainable_token_indices": "tokens",
    "bias": "bias",
    "init_lora_weights": "init",
    "use_rslora": "flag",
    "use_dora": "flag",
    "lora_bias": "flag",
    "fan_in_fan_out": "flag",
}
_NEVER_NULL: Final = frozenset({"r", "lora_alpha", "lora_dropout", "bias"})
