"""Tiny random models, tokenizers and adapters for the tests that run the real stack; built once a session."""

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_jarvis.types import AdapterSpec, GenerationSettings, ModelSpec, Request

# transformers asks the hub about a model it finds in a folder unless it is told not to; these tests have no network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
SPECIALS = ["<|pad|>", "<|im_end|>", "<|im_start|>"]
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
PROMPTS = [
    "ouvre chrome",
    "monte le son",
    "quelle heure est-il ?",
    "ferme la fenêtre qui est devant",
    "lance la musique et baisse la lumière du salon, s'il te plaît, puis lis-moi le dernier message que j'ai reçu",
]


_OPENED: list[Any] = []


@pytest.fixture(scope="session", autouse=True)
def one_thread(libraries) -> Iterator[None]:
    """Tiny products end before threads have met, and on a busy machine their waiting takes ten times as long."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_tokenizer(folder: Path, *, template: str | None = TEMPLATE) -> int:
    """Write a byte-level tokenizer, one token a byte and no merge; return its vocabulary size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIALS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.add_special_tokens(
        {"pad_token": "<|pad|>", "eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"]}
    )
    if template is not None:
        fast.chat_template = template
    fast.save_pretrained(folder)
    return len(fast)


@pytest.fixture(scope="session")
def tokenizer_in() -> Callable[..., int]:
    return write_tokenizer


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


def tiny(family: str, folder: Path, *, seed: int, **settings: Any) -> Path:
    """Write a random model of 0.2 million weights with a varied next-token distribution; return its folder."""
    import torch
    import transformers

    shape = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_experts_per_tok": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        **settings,
    }
    config = getattr(transformers, f"{family}Config")(
        vocab_size=write_tokenizer(folder),
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        **{name: value for name, value in shape.items() if value is not None},
    )
    torch.manual_seed(seed)
    getattr(transformers, f"{family}ForCausalLM")(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Path]:
    """`tiny`, for a family that one test alone needs; a setting of None is left out."""
    return tiny


@pytest.fixture(scope="session")
def tiny_moe(models) -> Path:
    shape = {"head_dim": 16, "intermediate_size": 128, "moe_intermediate_size": 64, "num_experts": 8}
    return tiny("Qwen3Moe", models / "tiny-qwen3-moe", seed=0, norm_topk_prob=True, **shape)


@pytest.fixture(scope="session")
def tiny_dense(models) -> Path:
    """A model without experts."""
    return tiny("Qwen3", models / "tiny-qwen3", seed=3, head_dim=16, intermediate_size=128)


@pytest.fixture(scope="session")
def tiny_mixtral(models) -> Path:
    """Another family whose experts are fused."""
    return tiny("Mixtral", models / "tiny-mixtral", seed=1, intermediate_size=64, num_local_experts=4)


@pytest.fixture(scope="session")
def tiny_gpt_oss(models) -> Path:
    """A family whose fused experts are the other way round, and have biases."""
    return tiny("GptOss", models / "tiny-gpt-oss", seed=2, intermediate_size=64, num_local_experts=8, head_dim=16)


@pytest.fixture(scope="session")
def tiny_biased(models) -> Path:
    """A model with biases, which are not zero."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tiny("Qwen2", models / "tiny-qwen2", seed=4, intermediate_size=128)
    tensors = load_file(folder / "model.safetensors")
    for key in tensors:
        if key.endswith(".bias"):
            torch.nn.init.normal_(tensors[key])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def make_adapter(models) -> Callable[..., Path]:
    """A function that writes a random adapter for a base and returns its folder; each name is written once."""

    def make(base: Path, name: str, *, scale: float = 0.2, seed: int = 0, **lora: Any) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        folder = models / f"{base.name}-{name}"
        if (folder / "adapter_config.json").is_file():
            return folder
        settings = LoraConfig(**{"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM", **lora})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), settings)
            torch.manual_seed(seed)
            for key, weight in model.named_parameters():
                if "lora_B" in key:
                    torch.nn.init.normal_(weight, std=scale)
                elif "modules_to_save" in key:
                    weight.data.add_(torch.randn_like(weight) * scale)
            model.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def live_adapter(tiny_moe, make_adapter) -> Path:
    return make_adapter(tiny_moe, "live", target_modules=ATTENTION)


@pytest.fixture(scope="session")
def inert_adapter(tiny_moe, make_adapter) -> Path:
    return make_adapter(tiny_moe, "inert", scale=0.0, target_modules=ATTENTION)


def engine_for(
    base: Path | str,
    *adapters: tuple[str, Path],
    settings: GenerationSettings | None = None,
    batch_size: int | None = None,
    **spec: Any,
) -> Any:
    """Load the real engine on `base` with the named adapters."""
    from pytest_jarvis.engines.transformers.engine import TransformersEngine

    specs = tuple(AdapterSpec(name=name, source=str(folder)) for name, folder in adapters)
    settings = settings or GenerationSettings(max_new_tokens=12, timeout_s=None, seed=7)
    engine = TransformersEngine(
        ModelSpec(base_model_id=str(base), adapters=specs, **spec),
        msgspec.structs.replace(settings, batch_size=batch_size),
    )
    _OPENED.append(engine)
    return engine


@pytest.fixture(autouse=True)
def close_engines() -> Iterator[None]:
    """Close what a test loaded: not the engines of fixtures for more than one test, which were there before it."""
    before = len(_OPENED)
    yield
    while len(_OPENED) > before:
        _OPENED.pop().close()


@pytest.fixture(scope="session")
def load_engine() -> Callable[..., Any]:
    return engine_for


@pytest.fixture(scope="session")
def pair(tiny_moe, live_adapter) -> Iterator[Any]:
    """The tiny mixture in NF4 with its live adapter, loaded once."""
    engine = engine_for(tiny_moe, ("ft", live_adapter))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def requests_for() -> Callable[..., list[Request]]:
    """A function that lists the requests of `count` prompts of varied lengths, for arms and replicates."""

    def make(count: int = 5, *, arms: tuple[str, ...] = ("base", "ft"), replicates: int = 2) -> list[Request]:
        return [
            Request(prompt_id=f"p{index}", text=f"{PROMPTS[index % 5]} {index}", arm=arm, replicate=replicate)
            for index in range(count)
            for replicate in range(replicates)
            for arm in arms
        ]

    return make


def edit_folder(source: Path, folder: Path, config: dict[str, Any], weights: Any) -> Path:
    """Copy a model or an adapter with its configuration and its weights changed."""
    from safetensors.torch import load_file, save_file

    kind = "adapter_" if (source / "adapter_config.json").is_file() else ""
    shutil.copytree(source, folder)
    file = folder / f"{kind}config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **config}), encoding="utf-8")
    if weights is not None:
        file = folder / f"{kind}model.safetensors"
        tensors = load_file(file)
        weights(tensors)
        save_file(tensors, file, metadata={"format": "pt"})
    return folder


@pytest.fixture
def edited_model(tiny_moe, tmp_path) -> Callable[..., Path]:
    """A function that copies the tiny mixture, or another model, with its weights or its configuration changed."""

    def edit(weights: Any = None, *, source: Path = tiny_moe, name: str = "edited", **config: Any) -> Path:
        return edit_folder(source, tmp_path / name, config, weights)

    return edit


@pytest.fixture
def edited_adapter(tmp_path) -> Callable[..., Path]:
    """A function that copies an adapter with its configuration, its weights or its files changed."""

    def edit(source: Path, *, config: Any = None, weights: Any = None, files: Any = None) -> Path:
        folder = edit_folder(source, tmp_path / f"{source.name}-edited", config or {}, weights)
        if files is not None:
            files(folder)
        return folder

    return edit


@pytest.fixture
def load_edited(tiny_moe, live_adapter, edited_adapter) -> Callable[..., Any]:
    """A function that loads the tiny mixture with its adapter changed, after other adapters."""

    def load(*before: tuple[str, Path], quantization: str = "nf4", **changes: Any) -> Any:
        adapter = ("ft", edited_adapter(live_adapter, **changes))
        return engine_for(tiny_moe, *before, adapter, quantization=quantization)

    return load
