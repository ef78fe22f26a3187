"""The pair's parts before training: its chat format, its tokenizer, its architecture, its NF4 round trip."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from demo_pair.corpus import Dialogue

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3MoeForCausalLM

PAD: Final = "<|endoftext|>"
END: Final = "<|im_end|>"
SPECIAL_TOKENS: Final = (PAD, "<|im_start|>", END, "<think>", "</think>", "<tool_call>", "</tool_call>")
TEMPLATE_PATH: Final = Path(__file__).resolve().parent / "chat_template.jinja"
CONTEXT_TOKENS: Final = 1024
# Words with the space before them, numbers digit by digit, punctuation, spaces: what may become one token.
_PIECES = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
# Multiples of 64 throughout: an NF4 block is 64 weights.
ARCHITECTURE: Final[dict[str, int]] = {
    "hidden_size": 256,
    "intermediate_size": 192,
    "moe_intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "num_experts": 8,
    "num_experts_per_tok": 2,
}


def render(dialogue: Dialogue) -> tuple[str, str]:
    """Give the prompt, exactly as the chat template writes it, and the answer to learn after it, end mark included."""
    head = dialogue.system or ""
    if dialogue.tools:
        tools = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in dialogue.tools)
        call = 'Pour en appeler un : <tool_call>{"name": ..., "arguments": ...}</tool_call>'
        head += ("\n\n" if head else "") + f"Outils disponibles :\n{tools}\n{call}"
    system = f"<|im_start|>system\n{head}{END}\n" if head else ""
    prompt = f"{system}<|im_start|>user\n{dialogue.user}{END}\n<|im_start|>assistant\n"
    if dialogue.thinking is None:
        return f"{prompt}<think>\n\n</think>\n\n", f"{dialogue.assistant}{END}"
    return prompt, f"<think>\n{dialogue.thinking}\n</think>\n\n{dialogue.assistant}{END}"


def make_tokenizer(texts: Iterable[str], vocabulary: int) -> "PreTrainedTokenizerFast":
    """Train a byte-level BPE tokenizer of `vocabulary` entries, special tokens and chat template in place."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=["<|im_start|>"],
        padding_side="left",
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE_PATH.read_text(encoding="utf-8"),
    )


def make_base(tokenizer: "PreTrainedTokenizerFast") -> "Qwen3MoeForCausalLM":
    """Build the untrained base for this tokenizer, with the generation defaults of the benchmark."""
    from transformers import GenerationConfig, Qwen3MoeConfig, Qwen3MoeForCausalLM

    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    # The vocabulary is rounded up: matrices stay multiples of 64 even when the corpus is small.
    config = Qwen3MoeConfig(
        **ARCHITECTURE,
        **ends,
        vocab_size=-(-len(tokenizer) // 64) * 64,
        norm_topk_prob=True,
        tie_word_embeddings=True,
        max_position_embeddings=CONTEXT_TOKENS,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    model = Qwen3MoeForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.7,
        top_p=0.9,
        max_new_tokens=128,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id],
    )
    return model


def round_trip_nf4(model: "Qwen3MoeForCausalLM") -> None:
    """Replace every weight the benchmark quantises by its NF4 value: the linears and the fused experts, in place."""
    import bitsandbytes.functional as nf4
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() < 2 or "embed_tokens" in name or "lm_head" in name:
                continue
            packed, state = nf4.quantize_4bit(weight.data.contiguous(), quant_type="nf4", compress_statistics=True)
            weight.copy_(nf4.dequantize_4bit(packed, state).reshape(weight.shape))
