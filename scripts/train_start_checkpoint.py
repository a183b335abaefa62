"""Trains the small model that kebyt5 ships, from random weights, on plain Korean text.

The model learns to write out a text of which it reads a copy with some spans blanked: what
every tagging task needs, and a little Korean with it. Text is read from the folder `pretrain`
of `KEBYT5_DATA`: gzip files, a line a text.

    python scripts/train_start_checkpoint.py OUT_DIR --minutes 60

Progress goes to stdout; a run that is stopped goes on where it was with the same command.
"""

import argparse
import gzip
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kebyt5.finetuning.data import collate
from kebyt5.models.modeling_gbswt5 import GBSWT5ForConditionalGeneration
from kebyt5.models.presets import preset_config
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.output import whole_folder

SOURCES = ("nsmc_reviews", "petitions", "news_titles_kocohub", "ud_gsd_train_text", "docs_python")
SENTINEL = ByteTokenizer.pretraining_sentinel_id(0)
MAX_BYTES = 110
BATCH = 16
PEAK_LEARNING_RATE = 5e-4
WARMUP_STEPS = 200


def read_texts(folder: Path) -> list[bytes]:
    """Reads lines of 12 to MAX_BYTES bytes; longer ones are cut at blanks."""
    texts = []
    for source in SOURCES:
        with gzip.open(folder / f"{source}.txt.gz", "rt", encoding="utf-8") as file:
            for line in file:
                words = line.split()
                while words:
                    text, size = [], 0
                    while words and size + len(words[0].encode()) + 1 <= MAX_BYTES:
                        size += len(words[0].encode()) + 1
                        text.append(words.pop(0))
                    if not text:
                        words.pop(0)
                    if size >= 12:
                        texts.append(" ".join(text).encode())
    return texts


def batches(texts: list[bytes], start: int) -> Iterator[dict[str, torch.Tensor]]:
    """Yields batch after batch from number `start` on, each a function of its number."""
    number = start
    while True:
        rng = np.random.default_rng((0, number))
        # Texts of one batch are about as long as each other: `texts` is sorted by length.
        center = rng.integers(len(texts))
        window = np.clip(np.arange(center - 2000, center + 2000), 0, len(texts) - 1)
        chosen = [texts[i] for i in rng.choice(window, BATCH, replace=False)]
        yield collate([blank_spans(text, rng) for text in chosen])
        number += 1


def blank_spans(text: bytes, rng: np.random.Generator) -> dict[str, list[int]]:
    """Half the texts stay whole; in others up to three spans become one sentinel each."""
    ids = np.frombuffer(text, np.uint8).astype(np.int64) + 3
    labels = [*ids.tolist(), 1]
    pieces, end = [], 0
    if rng.random() < 0.5:
        for begin in np.sort(rng.integers(0, len(ids), rng.integers(1, 4))):
            if begin > end:
                pieces += [ids[end:begin], [SENTINEL]]
                end = begin + rng.integers(1, 13)
    source = np.concatenate([*pieces, ids[end:]])
    return {"input_ids": [*map(int, source), 1], "labels": labels}


def train(output: Path, minutes: float) -> None:
    """Trains for so many minutes in all and writes the model in bfloat16."""
    texts = sorted(read_texts(Path(os.environ["KEBYT5_DATA"]) / "pretrain"), key=len)
    torch.manual_seed(0)
    config = preset_config("gbst-kebyt5-tiny", dropout_rate=0.0)
    model = GBSWT5ForConditionalGeneration(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01, betas=(0.9, 0.98))
    state: dict[str, Any] = {"step": 0, "seconds": 0.0}
    saved = output / "training.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state.pop("model"))
        optimizer.load_state_dict(state.pop("optimizer"))
    print(f"{len(texts):,} texts, {sum(p.numel() for p in model.parameters()):,} parameters")
    began = time.monotonic() - state["seconds"]
    losses = []
    for batch in batches(texts, state["step"]):
        seconds = time.monotonic() - began
        progress = seconds / (60 * minutes)
        if progress >= 1:
            break
        warmup = min(1, (state["step"] + 1) / WARMUP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * warmup * min(1, 2.5 * (1 - progress))
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        state["step"] += 1
        if state["step"] % 50 == 0:
            print(f"{state['step']} {seconds:.0f}s {np.mean(losses[-50:]):.4f}", flush=True)
        if state["step"] % 500 == 0:
            tensors = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state | tensors | {"seconds": seconds}, saved.with_suffix(".new"))
            saved.with_suffix(".new").replace(saved)
    with whole_folder(output) as folder:
        model.config.dropout_rate = 0.1
        model.to(torch.bfloat16).save_pretrained(folder)
        ByteTokenizer().save_pretrained(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    train(arguments.output, arguments.minutes)
