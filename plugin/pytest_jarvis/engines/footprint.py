"""Memory and disk footprint of a base model, computed from its `config.json` before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["experts", "attention", "linear", "router", "embeddings", "head", "norms", "other"]

WORKSPACE_COPIES: Final = 2  # Dequantized copies of a layer's experts that a step holds.
BATCH_SHARE: Final = 0.6  # Share of the free memory planned for a batch: activations and fragmentation take the rest.
CACHED_SHARE: Final = 0.05  # Share of the free memory that a CPU's dequantised copies may take.
LIBRARIES_BYTES: Final = 560_000_000
"""Of a process that has imported torch for the CPU, transformers, peft, scikit-learn, matplotlib: 553 MB measured."""
STORED_BYTES: Final = 2  # Bytes of a weight in a published checkpoint: 16 bits.

_IN_4_BITS: Final[frozenset[Kind]] = frozenset({"experts", "attention", "linear"})
_BLOCK: Final = 64
_BLOCK_OF_SCALES: Final = 256
_TABLES_BYTES: Final = 16 * 4 + 256 * 4 + 4
"""Tables of bitsandbytes with each tensor: the 16 values of NF4, the 256 of its scales, and their mean."""
_BIASED: Final = frozenset({"qwen2"})
_NORMED_HEADS: Final = frozenset({"qwen3", "qwen3_moe"})
_FAMILIES: Final = frozenset({"llama", "mistral", "mixtral"}) | _BIASED | _NORMED_HEADS
"""Values of `model_type` whose shapes are known; a test compares them with transformers' models."""


EXPERTS_PER_TOKEN: Final = ("num_experts_per_tok", "moe_topk")
"""Configuration keys for the experts of a token."""
ACTIVATION_KEYS: Final = ("hidden_size", "intermediate_size", "moe_intermediate_size", *EXPERTS_PER_TOKEN)
"""Keys that `activations_of` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """A group of equal tensors."""

    kind: Kind
    weights: int
    """Of one of them."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """The shapes that determine a decoder's memory."""

    vocabulary: int
    layers: int
    key_value_heads: int
    head_size: int
    activations: int
    """Elements that a token of a prompt holds at once."""
    tensors: tuple[Tensors, ...]

    @property
    def weights(self) -> int:
        """Number of weights; tied ones count once."""
        return sum(tensors.weights * tensors.count for tensors in self.tensors)

    @property
    def layer_experts(self) -> int:
        """Weights of one layer's experts; 0 for a dense model."""
        return sum(tensors.weights for tensors in self.tensors if tensors.kind == "experts")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """Bytes that a run needs on its device."""

    weights: int
    adapters: int
    workspace: int
    """Of a step, whatever its rows."""
    row: int
    """Of each row of a batch."""
    copies: int = 0
    """Of weights in 4 bits kept dequantised, on a CPU."""
    libraries: int = 0
    """Of torch, transformers, peft and the rest, once imported; on a CPU, where they share the memory."""

    @property
    def fixed(self) -> int:
        """All but the rows."""
        return self.weights + self.copies + self.adapters + self.workspace + self.libraries

    def total(self, rows: int) -> int:
        """Return the bytes for batches of `rows` rows, spare room included."""
        return self.fixed + int(rows * self.row / BATCH_SHARE)

    def max_rows(self, free: int) -> int:
        """Return how many rows fit in `free` bytes; 0 when the model itself does not."""
        return max(0, int((free - self.fixed) * BATCH_SHARE) // self.row)


def read_shapes(config: Mapping[str, Any]) -> Shapes | None:
    """Return the shapes in a `config.json`; None for an unknown family or a missing key."""
    inner = config.get("text_config", config)
    if not isinstance(inner, Mapping) or inner.get("model_type") not in _FAMILIES:
        return None
    try:
        return _shapes(inner, str(inner["model_type"]))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def stored_bytes(shapes: Shapes, *, nf4: bool, element: int) -> dict[Kind, int]:
    """Return the bytes of each kind of weights once loaded, `element` bytes for a weight that is not in 4 bits.

    NF4 with double quantisation (Dettmers et al. 2023, QLoRA, section 3): 4 bits a weight, a scale of 8 bits for 64
    weights, one of 32 bits for 256 of those, and the tables that bitsandbytes keeps with each tensor.
    """
    sizes: dict[Kind, int] = {}
    for tensors in shapes.tensors:
        one = tensors.weights * element
        if nf4 and tensors.kind in _IN_4_BITS:
            blocks = -(-tensors.weights // _BLOCK)
            one = -(-tensors.weights // 2) + blocks + 4 * -(-blocks // _BLOCK_OF_SCALES) + _TABLES_BYTES
        sizes[tensors.kind] = sizes.get(tensors.kind, 0) + one * tensors.count
    return sizes


def token_bytes(*, layers: int, key_value_heads: int, head_size: int, element: int) -> int:
    """Return the size of the keys and values of a token, over all layers."""
    return 2 * layers * key_value_heads * head_size * element


def row_bytes(
    token: int, *, layers: int, vocabulary: int, prompt_tokens: int, new_tokens: int, element: int, activations: int
) -> int:
    """Return the peak size of a row in a batch; `token` as `token_bytes`.

    The larger of two moments. Prefill: the keys and values so far, and `activations` elements for each token. Last
    step: the keys and values of all tokens, one layer's twice, as they grow by a copy; and its logits, held a few times
    over in 32 bits.
    """
    whole = token * (prompt_tokens + new_tokens)
    return max((token + activations * element) * prompt_tokens, whole + whole // layers + 6 * 4 * vocabulary)


def activations_of(config: Mapping[str, Any]) -> int:
    """Return the elements that a prompt token holds at once, from the text part of a model's `config.json`.

    Some 10 times the hidden size around attention and norms, and the feed-forward part: the inputs and the outputs of
    each of a token's experts three times over or their inner activations, whichever is more. Measured on simulated GPUs
    with counted allocations (plugin/tests/e2e/engine/on_gpus), where it is a few percent too much.
    """
    hidden = int(config["hidden_size"])
    width = _largest(config.get("intermediate_size")) or 4 * hidden
    experts = next((found for key in EXPERTS_PER_TOKEN if (found := _largest(config.get(key)))), 0)
    inner = _largest(config.get("moe_intermediate_size")) or width
    return 10 * hidden + max(experts * max(4 * hidden, hidden + 4 * inner), 4 * width)


def _largest(value: object) -> int:
    """Return a size, or the largest where it differs by layer; 0 for none."""
    sizes = value if isinstance(value, list | tuple) else [value]
    return max((size for size in sizes if isinstance(size, int)), default=0)


def estimate(
    shapes: Shapes,
    *,
    nf4: bool,
    on_gpu: bool,
    prompt_tokens: int,
    new_tokens: int,
    adapter_weights: int,
    element: int | None = None,
    free: int = 0,
) -> MemoryNeed:
    """Return the needs of a run: bfloat16 on a GPU, 32 bits on a CPU, unless `element` is the bytes of another type.

    peft holds adapters in 32 bits. `free` memory decides whether a CPU keeps weights dequantised.
    """
    element = element or (2 if on_gpu else 4)
    copies = sum(tensors.weights * tensors.count * element for tensors in shapes.tensors if tensors.kind in _IN_4_BITS)
    kept = nf4 and not on_gpu and copies <= free * CACHED_SHARE
    return MemoryNeed(
        copies=copies if kept else 0,
        libraries=0 if on_gpu else LIBRARIES_BYTES,
        weights=sum(stored_bytes(shapes, nf4=nf4, element=element).values()),
        adapters=4 * adapter_weights,
        workspace=WORKSPACE_COPIES * shapes.layer_experts * element if nf4 and not kept else 0,
        row=row_bytes(
            token_bytes(
                layers=shapes.layers,
                key_value_heads=shapes.key_value_heads,
                head_size=shapes.head_size,
                element=element,
            ),
            layers=shapes.layers,
            vocabulary=shapes.vocabulary,
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            element=element,
            activations=shapes.activations,
        ),
    )


def _shapes(config: Mapping[str, Any], family: str) -> Shapes:
    hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
    heads = int(config["num_attention_heads"])
    pairs = int(config.get("num_key_value_heads") or heads)
    size = int(config.get("head_dim") or hidden // heads)
    experts, expert_width, sparse = _experts(config, family, layers)
    dense = layers - sparse
    vocabulary, width = int(config["vocab_size"]), int(config["intermediate_size"])
    own_head = not config.get("tie_word_embeddings", False)
    biased = family in _BIASED or bool(config.get("attention_bias"))
    outer_bias = hidden if biased and family not in _BIASED else 0
    table = (
        Tensors(kind="attention", weights=hidden * heads * size, count=2 * layers),
        Tensors(kind="attention", weights=hidden * pairs * size, count=2 * layers),
        Tensors(kind="other", weights=(heads + 2 * pairs) * size + outer_bias, count=layers if biased else 0),
        Tensors(kind="experts", weights=experts * hidden * 2 * expert_width, count=sparse),
        Tensors(kind="experts", weights=experts * hidden * expert_width, count=sparse),
        Tensors(kind="router", weights=experts * hidden, count=sparse),
        Tensors(kind="linear", weights=hidden * width, count=3 * dense),
        Tensors(kind="embeddings", weights=vocabulary * hidden, count=1),
        Tensors(kind="head", weights=vocabulary * hidden, count=1 if own_head else 0),
        Tensors(kind="norms", weights=hidden, count=2 * layers + 1),
        Tensors(kind="norms", weights=size, count=2 * layers if family in _NORMED_HEADS else 0),
    )
    return Shapes(
        vocabulary=vocabulary,
        layers=layers,
        key_value_heads=pairs,
        head_size=size,
        activations=activations_of(config),
        tensors=tuple(tensors for tensors in table if tensors.count),
    )


def _experts(config: Mapping[str, Any], family: str, layers: int) -> tuple[int, int, int]:
    """Return the experts of a layer, their inner width, and the number of layers with experts."""
    if family == "mixtral":
        return int(config["num_local_experts"]), int(config["intermediate_size"]), layers
    if family != "qwen3_moe":
        return 0, 0, 0
    # transformers writes `num_local_experts`, the published files say `num_experts`.
    experts = int(config["num_experts"] if "num_experts" in config else config["num_local_experts"])
    step, dense = int(config.get("decoder_sparse_step", 1)), set(config.get("mlp_only_layers") or ())
    sparse = [layer for layer in range(layers) if layer not in dense and (layer + 1) % step == 0] if experts else []
    return experts, int(config["moe_intermediate_size"]), len(sparse)
