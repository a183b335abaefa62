"""Rows of a parse: all that is known is forced, heads and labels are as the task reads them."""

import numpy as np
import pytest

from kebyt5.generation.constraints import DependencyRows
from kebyt5.tasks import get_task

EOS = 1
LABELS = ("NP", "NP_SBJ", "VP")
WORDS = "나는\t나 는\tNP+JX\n12층에\t12층 에\tNNG+JKB\n간다.\t가 ㄴ다 .\tVV+EF+SF"


def random_text(constraint, seed):
    random = np.random.default_rng(seed)
    state, data = constraint.start(), bytearray()
    choices = 0
    while True:
        allowed = np.flatnonzero(constraint.allowed(state))
        choices += len(allowed) > 1
        byte_id = int(random.choice(allowed))
        if byte_id == EOS:
            return data.decode(), choices
        data.append(byte_id - 3)
        state = constraint.advance(state, byte_id)


def test_every_text_is_a_parse_that_the_task_reads():
    task = get_task("dp")
    example = task.example(sentence="나는 12층에 간다.", words=WORDS)
    constraint = DependencyRows([2, 4, 3], LABELS)
    for seed in range(50):
        text, choices = random_text(constraint, seed)
        parsed = task.parse(text, example)
        assert parsed.reason is None
        assert {arc.label for arc in parsed.value} <= set(LABELS)
        assert all(0 <= arc.head <= 3 for arc in parsed.value)
        assert text.startswith("deprel: (1/2, ")
        assert text.endswith("\nword_counts: 3")
        assert choices < len(text.encode()) / 4


def test_many_words_have_heads_of_several_digits():
    constraint = DependencyRows([1] * 12, LABELS)
    heads = {head for seed in range(60) for head in random_text(constraint, seed)[0].split(", ")}
    assert {"0", "1", "10", "11", "12"} <= heads
    assert "13" not in heads


def test_needs_words_and_labels():
    for arguments in (([], LABELS), ([1], ())):
        with pytest.raises(ValueError, match="at least one word and one label"):
            DependencyRows(*arguments)
