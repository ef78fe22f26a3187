"""The values of a LoRA's configuration, each of the kind its key wants."""

import pytest

from pytest_jarvis.inputs.adapters import first_fault, unsupported_variant

WHOLE = {
    "r": 8,
    "lora_alpha": 16.5,
    "lora_dropout": 0.05,
    "target_modules": ["q_proj"],
    "target_parameters": None,
    "rank_pattern": {"q_proj": 4},
    "alpha_pattern": {},
    "layers_to_transform": [0, 1],
    "trainable_token_indices": {"embed_tokens": [1, 2]},
    "bias": "none",
    "init_lora_weights": True,
    "use_rslora": False,
    "unknown": object(),
}


@pytest.mark.parametrize(
    "config",
    [
        {},
        WHOLE,
        {"target_modules": "all-linear", "layers_to_transform": 3, "trainable_token_indices": [1]},
        {"target_modules": r".*\.(q|v)_proj", "init_lora_weights": "gaussian", "use_dora": None},
    ],
)
def test_values_of_the_right_kind_have_no_fault(config: dict[str, object]) -> None:
    assert first_fault(config) is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("r", "four", 'r is "four", expected a whole number'),
        ("r", True, "r is true, expected a whole number"),
        ("r", None, "r is null, expected a whole number"),
        ("r", 0, "r is 0, expected a whole number >= 1"),
        ("lora_alpha", None, "lora_alpha is null, expected a number"),
        ("lora_dropout", 5, "lora_dropout is 5, expected a number < 1.0"),
        ("target_modules", 5, "target_modules is 5, expected a string or a list"),
        ("target_modules", [1], "target_modules is [1], expected a string"),
        ("modules_to_save", "lm_head", 'modules_to_save is "lm_head", expected a list'),
        ("rank_pattern", [1], "rank_pattern is [1], expected a table"),
        ("alpha_pattern", {"q": "x"}, 'alpha_pattern is {"q": "x"}, expected a number'),
        ("layers_to_transform", "1", 'layers_to_transform is "1", expected a whole number or a list'),
        ("trainable_token_indices", 3, "trainable_token_indices is 3, expected a table or a list"),
        ("bias", "some", "bias is \"some\", expected one of 'none', 'all', 'lora_only'"),
        ("init_lora_weights", 1.5, "init_lora_weights is 1.5, expected true or false or a string"),
        ("use_dora", "yes", 'use_dora is "yes", expected true or false'),
        ("r", "x" * 100, "x…, expected a whole number"),
    ],
)
def test_a_fault_says_the_key_what_was_found_and_what_is_expected(key: str, value: object, said: str) -> None:
    assert said in str(first_fault({**WHOLE, key: value}))


@pytest.mark.parametrize("init", [True, False, "gaussian", "EVA", "mica"])
def test_a_lora_is_plain_however_its_training_began_beside_the_base(init: object) -> None:
    assert unsupported_variant({"init_lora_weights": init, "alora_invocation_tokens": [], "kasa_config": None}) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("init_lora_weights", "PiSSA"), ("layer_replication", [[0, 1]]), ("kasa_config", {}), ("arrow_config", {"k": 1})],
)
def test_a_lora_that_does_more_than_add_is_not_plain(key: str, value: object) -> None:
    fault = unsupported_variant({**WHOLE, key: value})
    assert fault is not None
    assert (key, "a LoRA that leaves its base as it is") == (fault.key, fault.expected)
