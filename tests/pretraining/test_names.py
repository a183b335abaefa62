"""Names come back as spans of the text that was read sentence by sentence."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from kebyt5.pretraining.names import MAX_CHARACTERS, NameTagger, sentences_of
from tests.pretraining.samples import marking


@given(st.text(st.sampled_from("가나 .!?\n다"), max_size=400))
def test_sentences_are_parts_of_the_text(text):
    end = 0
    for begin, sentence in sentences_of(text):
        assert text[begin : begin + len(sentence)] == sentence
        assert not text[end:begin].strip()
        assert 0 < len(sentence) <= MAX_CHARACTERS
        assert "\n" not in sentence
        end = begin + len(sentence)
    assert not text[end:].strip()


def test_what_the_model_marks_is_found_where_it_stands(monkeypatch):
    texts = ["서울에 산다.\n어제 김하늘 씨가 서울에서 3시에 왔다. 끝.", "아무 일도 없다"]

    generate = marking({"서울": "LC", "김하늘": "PS", "3시": "TI"})
    monkeypatch.setattr("kebyt5.pretraining.names.generate_texts", generate)
    tagger = pickle.loads(pickle.dumps(NameTagger(None)))  # as workers that do not fork get it
    found = tagger(texts)
    assert [[text[a:b] for a, b in spans] for text, spans in zip(texts, found, strict=True)] == [
        ["서울", "김하늘", "서울"],
        [],
    ]
