"""Examples that ask for the words in which sentinels are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.pretraining.examples import Examples, Share
from kebyt5.pretraining.lookups import NUMBERS, lookup_example
from kebyt5.pretraining.spans import MAX_SPANS
from tests.pretraining.samples import corpus, reconstruct

texts = st.text(st.sampled_from("가나다라 \n.a1🙂"), min_size=1, max_size=80)
draws = st.lists(st.floats(0, 0.999), min_size=NUMBERS, max_size=NUMBERS)


def data(ids):
    return bytes(i - 3 for i in ids)


def words_around(ids):
    """For each sentinel of an input, what is left and right of it up to the next space."""
    found = []
    for place in np.flatnonzero(ids >= 248):
        sides = [ids[:place], ids[place + 1 : -1]]
        left, right = (data(side[side < 248]).decode() for side in sides)
        found.append(
            (left.replace("\n", " ").rpartition(" ")[2], right.replace("\n", " ").partition(" ")[0])
        )
    return found


@given(texts, draws)
def test_the_target_says_the_words_in_which_the_sentinels_are(text, numbers):
    made = lookup_example(np.frombuffer(text.encode(), np.uint8), np.array(numbers))
    if made is None:
        assert all(len(word) < 2 for word in text.replace("\n", " ").split(" "))
        return
    source, target = made
    assert data(source[(source < 248) & (source > 1)]).decode() == text
    assert source[-1] == target[-1] == 1
    sentinels = source[source >= 248]
    assert 1 <= len(sentinels) <= MAX_SPANS
    assert sentinels.tolist() == list(range(258, 258 - len(sentinels), -1))
    said = np.split(target[:-1], np.flatnonzero(target >= 248))[1:]
    for (left, right), part in zip(words_around(source), said, strict=True):
        assert left
        assert right
        word = data(part[1:]).decode()
        # All of the word, or of each side what is within 15 bytes.
        assert word == "".join([whole_end(left), whole_end(right[::-1])[::-1]])
        assert len(word.encode()) <= 30


def whole_end(text):
    while len(text.encode()) > 15:
        text = text[1:]
    return text


def test_a_word_has_every_place_as_often():
    rng = np.random.default_rng(0)
    text = np.frombuffer("가나다라".encode(), np.uint8)
    places = [
        np.flatnonzero(lookup_example(text, rng.random(NUMBERS))[0] == 258)[0] for _ in range(300)
    ]
    assert set(places) == {3, 6, 9}


def test_a_share_of_what_is_no_copy_asks_for_words(tmp_path):
    shards = corpus(tmp_path, {"only": 400})
    settings = {"input_length": 128, "seed": 3, "copies": Share(0.25), "short": 0.5}
    plain, asking = Examples(shards, **settings), Examples(shards, **settings, lookups=Share(0.4))
    indices = np.arange(600)
    before, batch = plain.batch(indices), asking.batch(indices)
    asked, read = 0, 0
    for row in indices.tolist():
        inputs, labels = (ids[row][ids[row] > 0] for ids in batch)
        old = before.input_ids[row][before.input_ids[row] > 0]
        if np.array_equal(inputs, old):
            is_copy = (inputs < 248).all()
            read += (
                len(inputs) - 1 if is_copy else len(reconstruct(inputs.tolist(), labels.tolist()))
            )
            continue
        asked += 1
        assert len(inputs) <= 128
        text = data(inputs[(inputs < 248) & (inputs > 1)])
        read += len(text)
        source = reconstruct(old.tolist(), before.labels[row][before.labels[row] > 0].tolist())
        assert source.startswith(text)
        said = labels[(labels < 248) & (labels > 1)]
        assert len(said) >= 2
    assert asked / 600 == pytest.approx(0.75 * 0.4, abs=0.05)
    assert read / 600 == pytest.approx(asking.mean_bytes(600), rel=0.08)
    assert np.array_equal(asking.batch([7]).labels[0][:20], batch.labels[7][:20])
