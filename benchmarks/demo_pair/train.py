"""Rebuild the embedded pair from its recipe: `python -m demo_pair.train --out DIR`."""

import argparse
import math
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from demo_pair.corpus import BenchmarkGuard, Dialogue, base_dialogues, faible_dialogues, jarvis_dialogues, read_guard
from demo_pair.recipe import make_base, make_tokenizer, render, round_trip_nf4

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

_LORA_RANK: Final = 16
_BALANCE_WEIGHT: Final = 0.01
_IGNORED: Final = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to train each part; `faible` learns for a moment to talk more and to do less."""

    seed: int = 0
    start: Path | None = None
    """Folder of a base to go on from, with its tokenizer, at half the rate; None begins from nothing."""
    vocabulary: int = 2048
    tokenizer_rows: int = 15_000
    batch_rows: int = 48
    base_steps: int = 1650
    base_rate: float = 3e-3
    jarvis_steps: int = 300
    jarvis_rate: float = 3e-3
    faible_steps: int = 8
    faible_rate: float = 7e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """One training: its name on the progress bar, its length, its peak rate, the weight of the experts' balance."""

    title: str
    steps: int
    rate: float
    batch_rows: int
    seed: int
    balance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    tokens: list[int]
    prompt_tokens: int


def train_pair(out: Path, plan: Plan, prompts: Path | None = None) -> None:
    """Write `base/`, `adapters/jarvis/` and `adapters/faible/` under `out`; overwrites files of the same name."""
    import torch

    torch.set_flush_denormal(True)
    try:
        guard = read_guard(prompts)
        torch.manual_seed(plan.seed)
        tokenizer = _train_tokenizer(plan, guard)
        _train_base(out / "base", plan, tokenizer, guard)
        for name, dialogues, steps, rate in (
            ("jarvis", jarvis_dialogues, plan.jarvis_steps, plan.jarvis_rate),
            ("faible", faible_dialogues, plan.faible_steps, plan.faible_rate),
        ):
            torch.manual_seed(plan.seed)
            rows = _encode(dialogues(steps * plan.batch_rows, plan.seed, guard), tokenizer)
            title = f"adaptateur {name}"
            course = _Course(title=title, steps=steps, rate=rate, batch_rows=plan.batch_rows, seed=plan.seed)
            _train_adapter(out / "base", out / "adapters" / name, rows, course)
    finally:
        # It is the processor's setting: without this, the rest of the process would compute with it too.
        torch.set_flush_denormal(False)


def _train_tokenizer(plan: Plan, guard: BenchmarkGuard) -> "PreTrainedTokenizerFast":
    if plan.start is not None:
        from transformers import AutoTokenizer

        known: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(plan.start)
        return known
    # Adapters never change the vocabulary, so JARVIS's words are counted in from the start.
    samples = [
        *base_dialogues(plan.tokenizer_rows, plan.seed, guard),
        *jarvis_dialogues(plan.tokenizer_rows, plan.seed, guard),
    ]
    return make_tokenizer(("".join(render(dialogue)) for dialogue in samples), plan.vocabulary)


def _encode(dialogues: Iterator[Dialogue], tokenizer: "PreTrainedTokenizerFast") -> list[_Row]:
    pairs = [render(dialogue) for dialogue in dialogues]
    prompts = tokenizer([prompt for prompt, _ in pairs], add_special_tokens=False)["input_ids"]
    answers = tokenizer([answer for _, answer in pairs], add_special_tokens=False)["input_ids"]
    return [_Row(tokens=p + a, prompt_tokens=len(p)) for p, a in zip(prompts, answers, strict=True)]


def _batches(rows: Sequence[_Row], size: int, seed: int) -> Iterator[list[_Row]]:
    """Give batches of rows of like lengths (little padding), in shuffled order, each row once."""
    rng = random.Random(seed)  # noqa: S311 - a corpus, not a secret
    chunk = size * 32
    for start in range(0, len(rows), chunk):
        near = sorted(rows[start : start + chunk], key=lambda row: len(row.tokens))
        batches = [near[i : i + size] for i in range(0, len(near), size)]
        rng.shuffle(batches)
        yield from batches


def _loss(model: Any, batch: Sequence[_Row], balance: float) -> "torch.Tensor":
    """Cross-entropy of the answers' tokens only, plus the experts' load balance."""
    import torch
    from torch.nn import functional
    from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

    width = max(len(row.tokens) for row in batch)
    tokens = torch.zeros(len(batch), width, dtype=torch.long)
    targets = torch.full((len(batch), width), _IGNORED, dtype=torch.long)
    for i, row in enumerate(batch):
        tokens[i, : len(row.tokens)] = torch.tensor(row.tokens)
        targets[i, row.prompt_tokens - 1 : len(row.tokens) - 1] = torch.tensor(row.tokens[row.prompt_tokens :])
    # Padding sits on the right of a causal model: no mask is needed, and its positions have no target.
    output = model.model(input_ids=tokens, use_cache=False, output_router_logits=balance > 0)
    wanted = targets != _IGNORED
    logits = model.lm_head(output.last_hidden_state[wanted])
    loss = functional.cross_entropy(logits.float(), targets[wanted])
    if balance > 0:
        seen = torch.tensor([[1] * len(r.tokens) + [0] * (width - len(r.tokens)) for r in batch])
        experts, active = model.config.num_experts, model.config.num_experts_per_tok
        loss = loss + balance * load_balancing_loss_func(output.router_logits, experts, active, seen)
    return loss


def _fit(model: Any, parameters: "Sequence[torch.nn.Parameter]", rows: Sequence[_Row], course: _Course) -> None:
    """Run AdamW with a short warm-up then a cosine down to a twentieth of the rate."""
    import torch
    from tqdm import tqdm  # type: ignore[import-untyped]  # comes with transformers, publishes no types

    optimizer = torch.optim.AdamW(parameters, lr=course.rate, betas=(0.9, 0.98), weight_decay=0.02)
    warm_up = max(1, min(100, course.steps // 10))
    model.train()
    batches = _batches(rows, course.batch_rows, course.seed)
    progress = tqdm(range(course.steps), desc=course.title, file=sys.stderr, mininterval=2.0)
    for step, batch in zip(progress, batches, strict=False):
        cosine = 0.5 * (1 + math.cos(math.pi * step / course.steps))
        for group in optimizer.param_groups:
            group["lr"] = course.rate * min((step + 1) / warm_up, 0.05 + 0.95 * cosine)
        with torch.autocast("cpu", torch.bfloat16):
            loss = _loss(model, batch, course.balance)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 20 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    model.eval()


def _train_base(folder: Path, plan: Plan, tokenizer: "PreTrainedTokenizerFast", guard: BenchmarkGuard) -> None:
    import torch
    from transformers import Qwen3MoeForCausalLM

    model = make_base(tokenizer)
    if plan.start is not None:
        model.load_state_dict(Qwen3MoeForCausalLM.from_pretrained(plan.start, dtype=torch.float32).state_dict())
    model.set_experts_implementation("eager")
    rows = _encode(base_dialogues(plan.base_steps * plan.batch_rows, plan.seed, guard), tokenizer)
    course = _Course(
        title="base",
        steps=plan.base_steps,
        rate=plan.base_rate / (1 if plan.start is None else 2),
        batch_rows=plan.batch_rows,
        seed=plan.seed,
        balance=_BALANCE_WEIGHT,
    )
    _fit(model, list(model.parameters()), rows, course)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _train_adapter(base: Path, folder: Path, rows: Sequence[_Row], course: _Course) -> None:
    """Train a LoRA on the attention of the base as the benchmark will run it, NF4 values included."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3MoeForCausalLM

    model = Qwen3MoeForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.set_experts_implementation("eager")
    round_trip_nf4(model)
    # The adapter names its base as the benchmark does, and keeps no trace of the folder it was trained in.
    model.name_or_path = "demo"
    lora = LoraConfig(
        r=_LORA_RANK,
        lora_alpha=2 * _LORA_RANK,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        base_model_name_or_path="demo",
        task_type="CAUSAL_LM",
    )
    tuned = get_peft_model(model, lora)
    trained = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    _fit(tuned.get_base_model(), trained, rows, course)
    tuned.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, rebuild the pair, and say where it is."""
    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m demo_pair.train", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("jarvis-demo"), help="new folder for the pair (%(default)s)")
    parser.add_argument("--force", action="store_true", help="replace what the folder holds")
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--from", dest="start", metavar="DIR", type=Path, help="a base to go on from")
    parser.add_argument("--steps", type=int, default=plan.base_steps, help="training steps of the base (%(default)s)")
    parser.add_argument("--adapter-steps", type=int, default=plan.jarvis_steps, help="of jarvis (%(default)s)")
    parser.add_argument("--prompts", type=Path, help="folder of the benchmark's prompts, to keep them out")
    options = parser.parse_args(arguments)
    if options.out.exists() and any(options.out.iterdir()):
        if not options.force:
            parser.error(f"{options.out}: not empty; give a new folder, or --force to replace the pair in it")
        for part in ("base", "adapters"):
            shutil.rmtree(options.out / part, ignore_errors=True)
    train_pair(
        options.out,
        Plan(seed=options.seed, start=options.start, base_steps=options.steps, jarvis_steps=options.adapter_steps),
        options.prompts,
    )
    sys.stdout.write(f"paire écrite dans {options.out}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
