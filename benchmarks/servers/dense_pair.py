"""Make a small dense Qwen3 and a LoRA for it, from a seed: what a server on a CPU can hold, unlike the embedded pair.

vLLM's LoRA of experts wants a GPU, and the embedded pair is a mixture of experts. This one takes that pair's tokenizer,
template and corpus, learns for a minute, and is never shipped: its answers only have to be French and to end.
`python benchmarks/servers/dense_pair.py DIR` writes `base/` and `jarvis/` (the adapter) under DIR, and with `--merged`
also `merged/`, the base with the adapter's product added, for a server that takes no adapters.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from demo_pair.corpus import Dialogue

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
"""Where `demo_pair` is."""
ROWS = 32
IGNORED = -100
SHAPE = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
}


def make_pair(folder: Path, *, seed: int, base_steps: int, adapter_steps: int, merged: bool) -> None:
    """Write the base and its adapter under `folder`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    from demo_pair.corpus import base_dialogues, jarvis_dialogues, read_guard
    from pytest_jarvis.demo import base_path

    torch.manual_seed(seed)
    guard = read_guard()
    tokenizer = AutoTokenizer.from_pretrained(base_path())
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    config = Qwen3Config(
        **SHAPE, **ends, vocab_size=len(tokenizer), tie_word_embeddings=True, max_position_embeddings=1024
    )
    model: Any = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        # `transformers serve` draws at random only where the model's own settings say so.
        do_sample=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    _fit(model, tokenizer, islice(base_dialogues(base_steps * ROWS, seed, guard), base_steps * ROWS), rate=4e-3)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    model.name_or_path = str(folder / "base")
    lora = LoraConfig(
        r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM"
    )
    tuned: Any = get_peft_model(model, lora)
    _fit(tuned, tokenizer, islice(jarvis_dialogues(adapter_steps * ROWS, seed, guard), adapter_steps * ROWS), rate=4e-3)
    tuned.save_pretrained(folder / "jarvis")
    if merged:
        tuned.merge_and_unload().save_pretrained(folder / "merged")
        tokenizer.save_pretrained(folder / "merged")


def _fit(model: Any, tokenizer: Any, dialogues: Iterable[Dialogue], *, rate: float) -> None:
    """Train what of `model` is trainable on the answers, batches of like lengths, the rate falling to nothing."""
    import torch

    from demo_pair.recipe import render

    rows = []
    for prompt, answer in map(render, dialogues):
        head = tokenizer.encode(prompt, add_special_tokens=False)
        rows.append((head, tokenizer.encode(answer, add_special_tokens=False)))
    rows.sort(key=lambda row: len(row[0]) + len(row[1]))
    batches = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
    random.Random(0).shuffle(batches)  # noqa: S311  # a corpus, no secret
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=len(batches), pct_start=0.1)
    started = time.perf_counter()
    model.train()
    for batch in batches:
        tokens, targets = _tensors(batch)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=tokens, labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
    model.eval()
    print(f"{len(batches)} steps in {time.perf_counter() - started:.0f} s, last loss {loss.item():.2f}", flush=True)


def _tensors(batch: Sequence[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (tokens, targets) of rows of (prompt, answer), padded on the right; the prompt is no target."""
    import torch

    width = max(len(prompt) + len(answer) for prompt, answer in batch)
    tokens = torch.zeros(len(batch), width, dtype=torch.long)
    targets = torch.full((len(batch), width), IGNORED, dtype=torch.long)
    for index, (prompt, answer) in enumerate(batch):
        end = len(prompt) + len(answer)
        tokens[index, :end] = torch.tensor(prompt + answer)
        targets[index, len(prompt) : end] = torch.tensor(answer)
    return tokens, targets


def main() -> None:
    """Read the command line and make the pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300, help="training steps of the base (%(default)s)")
    parser.add_argument("--adapter-steps", type=int, default=80, help="of the adapter (%(default)s)")
    parser.add_argument("--merged", action="store_true", help="write the merged model too")
    options = parser.parse_args()
    make_pair(
        options.folder,
        seed=options.seed,
        base_steps=options.steps,
        adapter_steps=options.adapter_steps,
        merged=options.merged,
    )


if __name__ == "__main__":
    main()
