"""What the automaton admits is the source with marks around spans, whatever the source holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.generation.constraints import CopyWithTags
from kebyt5.tasks import get_task

EOS = 1
TAGS = ("PS", "LC", "L")
SOURCES = st.text("가한 <>:PLSC", max_size=12)


def admits(constraint, text):
    state = constraint.start()
    for byte_id in [byte + 3 for byte in text.encode()]:
        if not constraint.allowed(state)[byte_id]:
            return False
        state = constraint.advance(state, byte_id)
    return bool(constraint.allowed(state)[EOS])


@given(SOURCES, st.data())
def test_marked_sources_are_admitted(source, data):
    cuts = data.draw(st.lists(st.integers(0, len(source)), max_size=6, unique=True))
    cuts = sorted(cuts)[: len(cuts) // 2 * 2]
    text, last = "", 0
    for start, end in zip(cuts[::2], cuts[1::2], strict=True):
        tag = data.draw(st.sampled_from(TAGS))
        text += f"{source[last:start]}<{source[start:end]}:{tag}>"
        last = end
    assert admits(CopyWithTags(source, TAGS), text + source[last:])


@given(SOURCES, st.randoms(use_true_random=False))
def test_whatever_is_admitted_is_a_copy_that_the_task_reads(source, random):
    types = ("PS", "LC", "OG", "DT", "TI", "QT")
    constraint = CopyWithTags(source, types)
    state, data = constraint.start(), bytearray()
    while True:
        allowed = np.flatnonzero(constraint.allowed(state)).tolist()
        assert allowed  # never a dead end
        byte_id = random.choice(allowed)
        if byte_id == EOS:
            break
        data.append(byte_id - 3)
        state = constraint.advance(state, byte_id)
    task = get_task("ner")
    reason = task.parse(data.decode(), task.example(sentence=source)).reason
    assert reason is None or not source.strip()


def test_no_empty_span_no_span_in_another_none_that_cuts_a_character():
    constraint = CopyWithTags("한국", ("LC",))
    assert admits(constraint, "<한:LC>국")
    assert not any(admits(constraint, text) for text in ("<:LC>한국", "<<한:LC>국:LC>", "<한국"))
    state = constraint.advance(constraint.start(), "한".encode()[0] + 3)
    assert np.flatnonzero(constraint.allowed(state)).tolist() == ["한".encode()[1] + 3]


def test_the_rest_of_the_source_is_likely():
    constraint = CopyWithTags("가나", ("LC",))
    assert bytes(i - 3 for i in constraint.likely(constraint.start())) == "가나".encode()
    with pytest.raises(ValueError, match="at least one tag"):
        CopyWithTags("가나", ())
