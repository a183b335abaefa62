"""Blanks are filled with text, the likeliest first."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kebyt5
from kebyt5.cli import app
from kebyt5.errors import InputError
from kebyt5.generation import Engine
from kebyt5.generation.fill import MAX_BLANKS, Filling, SpanGrammar, fill
from kebyt5.models.tokenization_kebyt5 import EOS, ByteTokenizer

TEXT = "오늘 <extra_id_0>에 비가 <extra_id_1>."


def target_ids(spans):
    text = "".join(f"<extra_id_{i}>{span}" for i, span in enumerate(spans))
    return ByteTokenizer().encode_array(text, sentinels="pretraining").tolist()


def input_ids(text):
    return ByteTokenizer().encode_array(text, sentinels="pretraining")


def likelihood(model, inputs, spans):
    labels = torch.tensor(target_ids(spans))[None]
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(inputs)[None], labels=labels).logits
    return logits.log_softmax(-1).gather(-1, labels[..., None]).sum().item()


spans = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
    min_size=1,
    max_size=MAX_BLANKS,
)


@given(spans)
def test_the_grammar_admits_every_filling(spans):
    ids = target_ids(spans)
    grammar = SpanGrammar(len(spans), 20)
    state = grammar.start()
    for id_ in ids:
        assert grammar.allowed(state)[id_]
        state = grammar.advance(state, id_)
    assert ids[-1] == EOS


@given(st.integers(1, MAX_BLANKS), st.integers(4, 12), st.randoms(use_true_random=False))
def test_the_grammar_admits_nothing_else(blanks, max_bytes, random):
    grammar, ids = SpanGrammar(blanks, max_bytes), []
    state = grammar.start()
    while ids[-1:] != [EOS]:
        ids.append(random.choice(np.flatnonzero(grammar.allowed(state)).tolist()))
        state = grammar.advance(state, ids[-1])
        assert len(ids) <= blanks * (max_bytes + 1) + 1
    spans = []
    for number in range(blanks):
        begin = ids.index(258 - number) + 1
        end = ids.index(257 - number) if number + 1 < blanks else len(ids) - 1
        spans.append(bytes(i - 3 for i in ids[begin:end]).decode())
        assert 0 < len(spans[-1].encode()) <= max_bytes
    assert target_ids(spans) == ids


def test_fillings_are_ranked_by_their_likelihood(tiny_model):
    model = tiny_model()
    fillings = fill(Engine(model), TEXT, num_beams=4, results=3, max_bytes=6)
    assert len(fillings) == 3
    scores = [filling.log_likelihood for filling in fillings]
    assert scores == sorted(scores, reverse=True)
    for filling in fillings:
        a, b = filling.spans
        assert filling.text == f"오늘 {a}에 비가 {b}."
        expected = likelihood(model, input_ids(TEXT), filling.spans)
        assert filling.log_likelihood == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "text", ["나는 <extra_id_0>에 <extra_id_1> 갔다.", "값이 <extra_id_0>", "<extra_id_0> 뒤"]
)
def test_no_simple_filling_is_likelier_than_the_likeliest(text):
    model = kebyt5.load("tiny")
    best = fill(Engine(model), text, results=1)[0].log_likelihood
    blanks = text.count("<extra_id_")
    for span in (" ", "이", "을", "다", "\n"):
        assert likelihood(model, input_ids(text), [span] * blanks) < best + 1e-3


def test_text_that_looks_like_a_special_token_is_text():
    model = kebyt5.load("tiny")
    text = "가격은 <s>1000원</s> <extra_id_0>원"
    (filling,) = fill(Engine(model), text, num_beams=1, results=1, max_bytes=6)
    ids = np.array([3 + byte for byte in "가격은 <s>1000원</s> ".encode()] + [258]
                   + [3 + byte for byte in "원".encode()] + [1])  # fmt: skip
    assert filling.log_likelihood == pytest.approx(likelihood(model, ids, filling.spans), abs=1e-3)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("빈칸이 없다", {}, "the text has no blank; write <extra_id_0>"),
        ("<extra_id_1> <extra_id_0>", {}, "in this order"),
        ("<extra_id_0> <extra_id_0>", {}, "once each"),
        ("".join(f"<extra_id_{i}>가" for i in range(12)), {}, "12 blanks: no more than 11"),
        ("<extra_id_0> <extra_id_00>", {}, "<extra_id_00> is not a blank"),
        ("<extra_id_0> <extra_id_٠>", {}, "is not a blank"),
        (f"<extra_id_{'9' * 5000}>", {}, "is not a blank"),
        (TEXT, {"results": 9}, "9 results of 8 beams: each beam gives one; ask for 1 to 8"),
        (TEXT, {"max_bytes": 3}, "at most 3 bytes has no room for a character"),
    ],
)
def test_what_cannot_be_filled_is_refused(tiny_model, text, options, message):
    with pytest.raises(InputError, match=message):
        fill(Engine(tiny_model()), text, **options)


def test_the_command_prints_texts(checkpoint, capsys):
    app(["fill", TEXT, "--checkpoint", str(checkpoint), "--results", "2", "--max-bytes", "6"],
        result_action="return_value")  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("오늘" in line for line in lines)


def test_the_command_prints_a_line_for_a_filling_whatever_it_is(checkpoint, run, monkeypatch):
    filling = Filling(("\n", "\x1b[2J\u2028"), "오늘 \n에 \\비가 \x1b[2J\u2028.", -1.5)
    monkeypatch.setattr("kebyt5.generation.fill.fill", lambda *_: [filling])
    code, out, _ = run("fill", TEXT, "--checkpoint", checkpoint)
    assert (code, out) == (0, r"   -1.50  오늘 \n에 \\비가 \x1b[2J\u2028." + "\n")
