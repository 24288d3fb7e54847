#!/usr/bin/env python3
"""Answer the Orbit FAQ with a model folder and count exact matches. Needs torch, transformers and tokenizers."""

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from train import BOS, EOS, HERE, PAD, prompt, read
from transformers import LlamaForCausalLM

MAX_NEW_TOKENS = 24
SAMPLE_SEED = 7


@torch.inference_mode()
def answers(folder: Path, questions: list[str], batch: int = 256) -> list[str]:
    """Return the greedy answer to every question. Questions of one length share a batch, so nothing is padded."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    by_length: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
    for i, question in enumerate(questions):
        ids = tokenizer.encode(prompt(question)).ids
        by_length[len(ids)].append((i, ids))
    said = [""] * len(questions)
    for length, group in sorted(by_length.items()):
        for start in range(0, len(group), batch):
            part = group[start : start + batch]
            ids = torch.tensor([x for _, x in part])
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
                bos_token_id=BOS,
                eos_token_id=EOS,
                pad_token_id=PAD,
            )
            for (i, _), text in zip(part, tokenizer.decode_batch(out[:, length:].tolist()), strict=True):
                said[i] = text.strip()
    return said


def marks(folder: Path, rows: list[dict[str, Any]]) -> list[int]:
    """Return 1 for every row answered exactly with its reference, else 0."""
    said = answers(folder, [r["input"] for r in rows])
    return [int(text == r["reference"]) for text, r in zip(said, rows, strict=True)]


def sample(rows: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """Return the fixed sample of training rows that every model is measured on."""
    return random.Random(SAMPLE_SEED).sample(rows, min(size, len(rows)))


def by_tag(rows: list[dict[str, Any]], scores: list[int]) -> dict[str, float]:
    """Return the share of exact matches for every tag."""
    found: dict[str, list[int]] = defaultdict(list)
    for r, mark in zip(rows, scores, strict=True):
        for tag in r["tags"]:
            found[tag].append(mark)
    return {tag: round(sum(v) / len(v), 4) for tag, v in sorted(found.items())}


def main() -> None:
    """Measure one folder on a fixed training sample and on every held-out question."""
    parser = argparse.ArgumentParser(description="Exact matches of a model folder, greedy decoding.")
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("--sample", type=int, default=1000, help="training questions to ask (default: %(default)s)")
    parser.add_argument("--tags", action="store_true", help="also print held-out figures by tag")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    known, heldout = sample(read(HERE / "train.jsonl"), args.sample), read(HERE / "heldout.jsonl")
    scores = marks(args.model, heldout)
    result: dict[str, Any] = {
        "train": round(sum(marks(args.model, known)) / len(known), 4),
        "heldout": round(sum(scores) / len(scores), 4),
    }
    if args.tags:
        result["tags"] = by_tag(heldout, scores)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
