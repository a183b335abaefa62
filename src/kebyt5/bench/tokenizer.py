"""Comparing `ByteTokenizer` with Transformers' `ByT5Tokenizer`."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from transformers import ByT5Tokenizer

from kebyt5.bench.measure import Ratio, interleave, ratio
from kebyt5.bench.workload import hangul
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer

_SIZE = 300_000  # bytes of text


class Compared(NamedTuple):
    """Both tokenizers in one case.

    Attributes:
        name: Name of the case.
        theirs: Median milliseconds of `ByT5Tokenizer`.
        ours: Median milliseconds of `ByteTokenizer`.
        times: Their ratio.
    """

    name: str
    theirs: float
    ours: float
    times: Ratio


def bench_tokenizer(rounds: int) -> list[Compared]:
    """Measures encoding and decoding of random Hangul.

    Args:
        rounds: Interleaved rounds after a warm-up round.
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
        medians = 1000 * statistics.median(theirs), 1000 * statistics.median(ours)
        rows.append(Compared(name, *medians, ratio(theirs, ours)))
    return rows
