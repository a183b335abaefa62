"""Comparing `ByteTokenizer` with Transformers' `ByT5Tokenizer`."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from transformers import ByT5Tokenizer

from kebyt5.bench.measure import Ratio, interleave, ratio
from kebyt5.bench.workload import hangul
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer

_SIZE = 300_000  # bytes of text


def bench_tokenizer(rounds: int) -> list[tuple[str, float, float, Ratio]]:
    """Measures encoding and decoding of random Hangul.

    Args:
        rounds: Interleaved rounds after a warm-up round.

    Returns:
        For each case, its name, the median milliseconds of `ByT5Tokenizer` and of `ByteTokenizer`,
        and their ratio.
    """
    text = hangul(_SIZE, seed=0)
    ids = ByteTokenizer()(text).input_ids
    cases: dict[str, Callable[[Any], Any]] = {
        "encode to numpy": lambda tokenizer: tokenizer(text, return_tensors="np"),
        "encode to torch": lambda tokenizer: tokenizer(text, return_tensors="pt"),
        "encode to a list": lambda tokenizer: tokenizer(text),
        "decode a list": lambda tokenizer: tokenizer.decode(ids),
        "decode lists of 1 kB": lambda tokenizer: tokenizer.batch_decode(
            [ids[i : i + 1000] for i in range(0, len(ids), 1000)]
        ),
    }
    rows = []
    for name, case in cases.items():
        theirs, ours = interleave(
            {
                "theirs": partial(case, ByT5Tokenizer()),
                "ours": partial(case, ByteTokenizer()),
            },
            rounds,
        ).values()
        medians = [1000 * statistics.median(values) for values in (theirs, ours)]
        rows.append((name, medians[0], medians[1], ratio(theirs, ours)))
    return rows


__all__ = ["bench_tokenizer"]
