"""Each task's constraint admits its gold, and nothing that the task cannot read."""

import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kebyt5.generation.constraints.forms import task_constraints
from kebyt5.tasks import TASKS, Example, get_task

EOS = 1


def constraint(task, item):
    (made,) = task_constraints(task, [item])
    return made


def admits(constraint, text):
    state = constraint.start()
    for byte_id in [byte + 3 for byte in text.encode()]:
        if not constraint.allowed(state)[byte_id]:
            return False
        state = constraint.advance(state, byte_id)
    return bool(constraint.allowed(state)[EOS])


def walk(constraint, random):
    """A text of random choices."""
    state, data = constraint.start(), bytearray()
    while True:
        allowed = np.flatnonzero(constraint.allowed(state)).tolist()
        assert allowed  # never a dead end
        byte_id = random.choice(allowed)
        if byte_id == EOS:
            return data.decode()
        data.append(byte_id - 3)
        state = constraint.advance(state, byte_id)


def guessed(constraint):
    """The text that comes of what is likely, draft after draft."""
    state, ids = constraint.start(), []
    while EOS not in ids:
        for byte_id in constraint.likely(state):
            state = constraint.advance(state, byte_id)
            ids.append(byte_id)
    return bytes(byte_id - 3 for byte_id in ids[:-1]).decode()


@pytest.mark.parametrize("name", ["klue-ner-v1.1", "klue-dp-v1.1"])
def test_gold_of_the_real_data_is_admitted(klue_data, name):
    task = get_task(name.split("-")[1])
    for item in task.read(klue_data / "klue" / name / f"{name}_dev.tsv"):
        assert admits(constraint(task, item), task.target_text(item)), item.place


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.labels])
def test_where_there_are_labels_these_are_admitted(name):
    task = get_task(name)
    item = Example("", dict.fromkeys(task.input_fields, "가"))
    first, second = task_constraints(task, [item, Example("", item.inputs)])
    assert first is second  # made once for all examples
    assert all(admits(first, label) for label in task.labels)
    assert not admits(first, "")
    assert not admits(first, task.labels[0] + " ")


@pytest.mark.parametrize("name", ["mrc", "wos", "korquad", "seq2seq"])
def test_elsewhere_any_text_is(name):
    task = get_task(name)
    any_text = constraint(task, Example("", dict.fromkeys(task.input_fields, "가")))
    assert admits(any_text, "출력: <😀>\n")
    assert not any_text.allowed(any_text.start())[0x80 + 3]


MARKS = ("<", ">", ":", ":PS>", "<가:LC>", ";;;", "ㅋㅋ", "ᄒ", "ᅡ", "ᆫ", "😀", " ", "가", "▁", "\t")


@given(st.lists(st.sampled_from(MARKS), max_size=8).map("".join), st.randoms())
@example("", None)
@example(unicodedata.normalize("NFD", "한국은행"), None)
@example("<" * 40, None)
@example(":PS>" * 9, None)
def test_any_marked_sentence_is_read(sentence, random):
    task = get_task("ner")
    item = task.example(sentence=sentence)
    random = random or np.random.default_rng(0)
    text = walk(constraint(task, item), random)
    parsed = task.parse(text, item)
    assert parsed.reason is None or not sentence.strip()
    assert len(parsed.value) == len(sentence)


WORD = st.text("가나(,)▁/\\:😀ᄒ", min_size=1, max_size=4)
TAGS = st.lists(st.sampled_from(["NNG", "JKS", "VV", "EF", "ETM", "SF", "VCP", "??"]), min_size=1)


@given(st.lists(st.tuples(WORD, TAGS), max_size=12), st.randoms())
def test_any_parse_is_read(words, random):
    task = get_task("dp")
    rows = [f"{word}\t{word}\t{'+'.join(tags)}" for word, tags in words]
    item = task.example(sentence=" ".join(word for word, _ in words), words="\n".join(rows))
    made = constraint(task, item)
    text = walk(made, random)
    parsed = task.parse(text, item)
    assert len(text.encode()) <= task.max_target_bytes(item)
    assert [0 <= arc.head <= len(words) for arc in parsed.value] == [True] * len(words)
    assert parsed.reason is None or not words
    # The draft is a parse, of which the last word is the root.
    guess = guessed(made)
    assert admits(made, guess)
    heads = [arc.head for arc in task.parse(guess, item).value]
    assert all(head > number for number, head in enumerate(heads[:-1], 1))
    assert heads[-1:] == [0] * bool(words)


def test_what_is_cut_off_is_not_to_be_copied():
    task = get_task("ner")
    tags = ("B-LC", "I-LC", *["O"] * 8)
    item = Example("", {"sentence": "서울ㅋㅋㅋ에서 만나"}, tags)
    limit = len("task: NER\n\n### 입력\n\n".encode()) + len("서울ㅋ에".encode())
    (part,) = task.fit(item, limit)
    assert part.inputs["sentence"] == "서울ㅋㅋㅋ에"
    assert part.gold == tags[:6]
    assert len(task.input_text(part).encode()) == limit
    assert admits(constraint(task, part), task.target_text(part))
    assert task.fit(item, limit + 99) == [item]
    (empty,) = task.fit(item, 3)
    assert empty.inputs["sentence"] == ""
