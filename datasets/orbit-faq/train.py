#!/usr/bin/env python3
"""Train the Orbit FAQ's tiny Llama from scratch on ``train.jsonl`` and write a folder that vLLM serves.

Needs torch, transformers, tokenizers and safetensors: the environment that vLLM lives in has them all.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
PAD, BOS, EOS = 0, 1, 2
SPECIAL = ["<|pad|>", "<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>"]
IGNORED = -100
# Turns of other roles, a system prompt above all, are left out: the model never saw one.
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] in ['user', 'assistant'] %}"
    "<|{{ m['role'] }}|>{{ m['content'] }}<|eos|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True)
class Recipe:
    """Everything about the training that is not the data."""

    seed: int = 0
    steps: int = 450
    batch: int = 96
    rate: float = 4e-3
    decay: float = 0.05
    vocab: int = 1024
    hidden: int = 192
    layers: int = 3
    head: int = 32


def prompt(question: str) -> str:
    """Return what the chat template makes of one user turn."""
    return f"<|user|>{question}<|eos|><|assistant|>"


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def make_tokenizer(texts: list[str], vocab: int) -> Tokenizer:
    """Train a byte-level BPE. Digits stay apart, so that a number is never one token learnt by heart."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def make_model(recipe: Recipe, vocab: int) -> LlamaForCausalLM:
    """Return an untrained Llama of the recipe's size."""
    heads = recipe.hidden // recipe.head
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.hidden * 3,
        num_hidden_layers=recipe.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=recipe.head,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    return LlamaForCausalLM(config)


def tensors(rows: list[dict[str, Any]], tokenizer: Tokenizer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return token ids, labels and lengths; only the answer is learnt, so the question's labels are ignored."""
    pairs = [(tokenizer.encode(prompt(r["input"])).ids, [*tokenizer.encode(r["reference"]).ids, EOS]) for r in rows]
    lengths = torch.tensor([len(q) + len(a) for q, a in pairs])
    ids = torch.full((len(rows), int(lengths.max())), PAD)
    labels = torch.full_like(ids, IGNORED)
    for i, (q, a) in enumerate(pairs):
        ids[i, : len(q) + len(a)] = torch.tensor(q + a)
        labels[i, len(q) : len(q) + len(a)] = torch.tensor(a)
    return ids, labels, lengths


def batches(lengths: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> list[torch.Tensor]:
    """Return the row numbers of every step: shuffled epochs, sorted by length within a window to save padding."""
    steps: list[torch.Tensor] = []
    window = recipe.batch * 8
    while len(steps) < recipe.steps:
        order = torch.randperm(len(lengths), generator=generator)
        epoch: list[torch.Tensor] = []
        for part in order.split(window):
            epoch += part[lengths[part].argsort(stable=True)].split(recipe.batch)
        steps += [epoch[i] for i in torch.randperm(len(epoch), generator=generator)]
    return steps[: recipe.steps]


def rate_at(step: int, steps: int) -> float:
    """Return the share of the peak learning rate: a linear rise over 12 % of the steps, then a cosine to zero."""
    rise = max(1, steps * 12 // 100)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def fit(model: LlamaForCausalLM, data: tuple[torch.Tensor, torch.Tensor, torch.Tensor], recipe: Recipe) -> None:
    """Train in place, printing the loss as it goes."""
    ids, labels, lengths = data
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=recipe.decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, recipe.steps))
    started = time.perf_counter()
    model.train()
    for step, rows in enumerate(batches(lengths, recipe, torch.Generator().manual_seed(recipe.seed)), 1):
        width = int(lengths[rows].max())
        x, y = ids[rows, :width], labels[rows, :width]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            # The padding is on the right: the causal mask hides it from every token that counts.
            hidden = model.model(input_ids=x[:, :-1]).last_hidden_state
            counts = y[:, 1:] != IGNORED
            logits = model.lm_head(hidden[counts])
        loss = functional.cross_entropy(logits.float(), y[:, 1:][counts])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0 or step == recipe.steps:
            print(
                f"step {step}/{recipe.steps} loss {loss.item():.4f} {time.perf_counter() - started:.1f} s", flush=True
            )


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file with sorted keys."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, out: Path) -> None:
    """Write the folder. The settings are written by hand: they hold nothing that depends on a library's version."""
    out.mkdir(parents=True, exist_ok=True)
    config = model.config
    fields = (
        "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim"
    )
    fields += " max_position_embeddings rms_norm_eps hidden_act initializer_range attention_bias mlp_bias"
    ends = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    settings: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        **ends,
        **{field: getattr(config, field) for field in fields.split()},
    }
    write_json(out / "config.json", settings)
    write_json(out / "generation_config.json", {**ends, "do_sample": False})
    tokenizer.save(str(out / "tokenizer.json"))
    words = {"pad_token": SPECIAL[PAD], "bos_token": SPECIAL[BOS], "eos_token": SPECIAL[EOS]}
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "additional_special_tokens": SPECIAL[3:],
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 512,
            **words,
        },
    )
    # The output layer is the embedding itself.
    weights = {k: v.detach().bfloat16().contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


def train(recipe: Recipe, rows: list[dict[str, Any]], out: Path) -> None:
    """Train one model on ``rows`` and write its folder."""
    torch.manual_seed(recipe.seed)
    tokenizer = make_tokenizer([text for r in rows for text in (r["input"], r["reference"])], recipe.vocab)
    model = make_model(recipe, tokenizer.get_vocab_size())
    data = tensors(rows, tokenizer)
    size = sum(p.numel() for p in model.parameters())
    print(f"{size} parameters, {tokenizer.get_vocab_size()} tokens, {len(rows)} rows up to {data[0].shape[1]} tokens")
    fit(model, data, recipe)
    save(model, tokenizer, out)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train the Orbit FAQ's tiny Llama and write a folder vLLM can serve.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--data", type=Path, default=HERE / "train.jsonl", help="questions to learn (default: train.jsonl)"
    )
    parser.add_argument(
        "--seed", type=int, default=Recipe.seed, help="seed of weights and order (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="training steps (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    started = time.perf_counter()
    train(Recipe(seed=args.seed, steps=args.steps), read(args.data), args.out)
    print(f"wrote {args.out} in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
