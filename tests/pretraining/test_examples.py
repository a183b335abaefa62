"""Examples over shards: chunks, random access, ranks."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.corpus.shards import Shards, ShardWriter
from kebyt5.errors import InputError
from kebyt5.models.fast_path import fast_path
from kebyt5.pretraining.examples import Chunks, Examples, Share
from kebyt5.pretraining.mixture import BLOCK
from kebyt5.pretraining.salient import SalientSpans
from kebyt5.pretraining.spans import SpanCorruption
from tests.pretraining.samples import corpus, reconstruct


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("corpus"), {"film": 30, "law": 60})


def test_processes_that_do_not_fork_get_files_by_their_names(shards):
    examples = Examples(shards)
    before = examples.batch(range(8))  # files are mapped now
    pickled = pickle.dumps(examples)
    assert len(pickled) < sum(shard.bytes for shard in shards) / 4
    again = pickle.loads(pickled).batch(range(8))
    assert all(map(np.array_equal, before, again))


@pytest.mark.parametrize("density", [0.2, 0.6, 0.9])
def test_a_copy_is_no_longer_than_an_input(shards, density):
    examples = Examples(shards, 64, SpanCorruption(density), copies=Share(0.5))
    batch = examples.batch(range(64))
    is_copy = (batch.input_ids < 248).all(axis=1)
    assert 16 < is_copy.sum() < 48
    assert batch.input_ids.shape == (64, 64)
    for inputs, labels in zip(batch.input_ids[is_copy], batch.labels[is_copy], strict=True):
        assert inputs[inputs > 0].tolist() == labels[labels > 0].tolist()


def whole_text(source):
    return "".join(f"{document}\n" for shard in source for document in shard)


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80), min_size=1
    ),
    st.integers(10, 200),
    st.integers(1, 500),
)
def test_chunks_divide_a_text_between_characters(tmp_path_factory, documents, size, max_bytes):
    folder = tmp_path_factory.mktemp("source")
    with ShardWriter(folder, "0", max_bytes) as writer:
        for document in documents:
            writer.write(document)
    (source,) = Shards(folder).sources.values()
    chunks = Chunks(source, size)
    rows, begins, ends = found = chunks.read(np.arange(len(chunks)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_path, "kernels", False)
        again = chunks.read(np.arange(len(chunks)))
    assert all(np.array_equal(*pair) for pair in zip(again, found, strict=True))
    # No byte is left out: each chunk begins where the one before ended, or a little earlier.
    whole = "".join(f"{document}\n" for document in documents).encode()
    covered = 0
    for row, begin, end in zip(rows, begins, ends, strict=True):
        chunk = row[begin:end].tobytes()
        chunk.decode()
        assert 2 <= len(chunk) <= size
        at = whole.find(chunk, max(0, covered - size))
        while (later := whole.find(chunk, at + 1)) != -1 and later <= covered:
            at = later
        assert 0 <= at <= covered
        covered = max(covered, at + len(chunk))
    assert covered == len(whole)
    if len(source) == 1:
        assert ((ends - begins) >= min(size, len(whole)) - 3).all()
    # In any order, alone or together.
    (row,), (begin,), (end,) = chunks.read(np.array([len(chunks) - 1]))
    assert row[begin:end].tobytes() == chunk


@pytest.mark.parametrize("corruption", [SpanCorruption(), SpanCorruption(whole_characters=True)])
@pytest.mark.parametrize("salient", [None, SalientSpans()])
def test_every_example_is_a_chunk_of_its_source(shards, corruption, salient):
    examples = Examples(shards, 128, corruption, salient=salient)
    texts = {
        source: "".join(f"{d}\n" for s in shards.sources[source] for d in s)
        for source in shards.sources
    }
    inputs, labels = examples.batch(np.arange(300))
    seen = {"film": 0, "law": 0}
    for input_ids, label_ids in zip(inputs.tolist(), labels.tolist(), strict=True):
        text = reconstruct(input_ids, label_ids).decode()
        (source,) = [source for source in texts if text in texts[source]]
        seen[source] += 1
    film = len(texts["film"].encode()) / shards.bytes
    assert seen["film"] / 300 == pytest.approx(film, abs=0.1)


def test_of_full_chunks_every_input_is_as_long_as_it_should_be(tmp_path):
    with ShardWriter(tmp_path, "0") as writer:
        writer.write("가나다라 마바사 abc." * 4_000)
    examples = Examples(Shards(tmp_path))
    assert examples.raw_length == 1193
    inputs, labels = examples.batch(np.arange(64))
    assert inputs.shape == (64, 1024)
    assert labels.shape == (64, 189)
    lengths = (inputs != 0).sum(1)
    assert lengths.min() == 1022  # where an end cuts a syllable
    assert lengths.max() == 1024
    masked = ((labels >= 0) & (labels < 248)).sum()
    assert masked / (masked + (inputs < 248).sum()) == pytest.approx(0.15, abs=0.002)


@pytest.mark.parametrize("salient", [None, SalientSpans()])
def test_random_access_equals_sequential(shards, salient):
    examples = Examples(shards, 128, seed=5, salient=salient)
    whole = examples.batch(np.arange(100, 140))
    for index in (100, 117, 139):
        alone = Examples(shards, 128, seed=5, salient=salient).batch([index])
        for one, several in zip(alone, whole, strict=True):
            row = several[index - 100]
            assert row[: one.shape[1]].tolist() == one[0].tolist()
            assert set(row[one.shape[1] :].tolist()) <= {0, -100}
    assert not np.array_equal(
        examples.batch([100])[0], Examples(shards, 128, seed=6, salient=salient).batch([100])[0]
    )


def test_a_chunk_is_masked_otherwise_in_every_pass(tmp_path):
    with ShardWriter(tmp_path, "0") as writer:
        writer.write("하나 둘 셋 넷 다섯 여섯 " * 10)
    inputs, labels = Examples(Shards(tmp_path), 400).batch(np.arange(50))
    rows = list(zip(inputs.tolist(), labels.tolist(), strict=True))
    assert len({reconstruct(*row) for row in rows}) == 1
    assert len({tuple(row[0]) for row in rows}) > 1


def test_weights_change_how_often_a_source_is_drawn(shards):
    examples = Examples(shards, 128, weights={"law": 0})
    assert set(examples.mixture(np.arange(500))[0].tolist()) == {examples.sources.index("film")}
    with pytest.raises(InputError, match="weight of laws"):
        Examples(shards, 128, weights={"laws": 1})


def test_one_pass_meets_every_chunk(tmp_path):
    shards = corpus(tmp_path, {"only": 40})
    examples = Examples(shards, 128)
    total = examples.chunks_of("only")
    _, chunk = examples.mixture(np.arange(BLOCK))
    assert len(set(chunk[: BLOCK // total * total].tolist())) == total
    # The chunks in their order begin and end where the text does.
    text = whole_text(shards)
    first, *_, last = zip(
        *(i.tolist() for i in examples.of_source("only", range(total))), strict=True
    )
    assert text.startswith(reconstruct(*first).decode())
    assert text.endswith(reconstruct(*last).decode())


def test_some_examples_are_texts_to_be_copied(shards):
    plain = Examples(shards, 128, seed=3)
    mixed = Examples(shards, 128, seed=3, copies=Share(0.25))
    indices = np.arange(400)
    masked, batch = plain.batch(indices), mixed.batch(indices)
    copies, read = 0, 0
    for row in indices:
        inputs, labels = (ids[row].tolist() for ids in batch)
        if any(i >= 248 for i in inputs):
            assert inputs == masked.input_ids[row].tolist()
            assert labels == masked.labels[row].tolist()
            read += len(reconstruct(inputs, labels))
            continue
        copies += 1
        text = inputs[: inputs.index(1)]
        assert labels[: len(text) + 1] == [*text, 1]
        assert set(inputs[len(text) + 1 :]) == {0}
        assert set(labels[len(text) + 1 :]) <= {-100}
        source = reconstruct(masked.input_ids[row].tolist(), masked.labels[row].tolist())
        copied = bytes(i - 3 for i in text)
        read += len(copied)
        assert source.startswith(copied)
        copied.decode()
        assert len(source) == len(copied) or len(copied) >= mixed.target_length - 4
    assert copies / 400 == pytest.approx(0.25, abs=0.07)
    assert read / 400 == pytest.approx(mixed.mean_bytes(400), rel=0.1) != mixed.raw_length
    assert np.array_equal(mixed.batch([7]).labels[0], batch.labels[7])


def test_the_mean_size_counts_shards_that_are_shorter_than_a_chunk(tmp_path):
    for name, documents, max_bytes in (("poems", 60, 90), ("law", 40, 100_000)):
        with ShardWriter(tmp_path / name, "0", max_bytes) as writer:
            for number in range(documents):
                writer.write(f"{number}번째 문서에는 짧은 글이 있다.")
    examples = Examples(Shards(tmp_path), 256, weights={"poems": 2})
    batch = examples.batch(np.arange(400))
    texts = (reconstruct(*(row.tolist() for row in pair)) for pair in zip(*batch, strict=True))
    mean = sum(map(len, texts)) / 400
    assert mean < 0.7 * examples.raw_length
    assert examples.mean_bytes(400) == pytest.approx(mean, rel=0.06)


def test_the_share_of_copies_falls_from_the_early_one_to_its_own(shards):
    copies = Share(0.2, early=0.8, examples=1000)
    assert copies.at(np.array([0, 500, 1000, 5000])) == pytest.approx([0.8, 0.5, 0.2, 0.2])
    for first in (1, 7, 1000, 3000):
        assert copies.mean(first) == pytest.approx(copies.at(np.arange(first)).mean())
    examples = Examples(shards, 128, copies=copies)
    is_copy = (examples.batch(np.arange(2000)).input_ids < 248).all(axis=1)
    assert is_copy[:500].mean() == pytest.approx(0.65, abs=0.06)
    assert is_copy[1000:].mean() == pytest.approx(0.2, abs=0.04)
    # An index has the same example in any batch.
    assert np.array_equal(examples.batch([3])[0], examples.batch(np.arange(10))[0][3:4])
    read = 0.65 * (examples.target_length - 1) + 0.35 * examples.raw_length
    assert examples.mean_bytes(500) == pytest.approx(read, rel=0.01)


@pytest.mark.parametrize("salient", [None, SalientSpans()])
def test_some_texts_end_early_and_go_on_behind_their_last_span(shards, salient):
    dense = SpanCorruption(0.2, 8)
    every = Examples(shards, 256, dense, seed=3, salient=salient, copies=Share(0.3), short=1.0)
    whole = Examples(shards, 256, dense, seed=3, salient=salient)
    spans, lengths, behind = [], [], []
    for row in range(200):
        inputs, labels = (ids[0].tolist() for ids in every.batch([row]))
        source = reconstruct(*(ids[0].tolist() for ids in whole.batch([row])))
        sentinels = [i for i in inputs if i >= 248]
        if not sentinels:
            text = bytes(i - 3 for i in inputs if i > 2)
        else:
            text = reconstruct(inputs, labels)
            behind.append(inputs.index(1) - inputs.index(sentinels[-1]) - 1)
            spans.append(len(sentinels))
            lengths.append(len(text))
        assert source.startswith(text)
        text.decode()
    assert min(lengths) < 20
    assert max(lengths) > 200
    assert max(behind) > 50
    assert set(spans) >= set(range(1, 7))
    assert np.mean(lengths) == pytest.approx(16 + (255 - 16) / 3, rel=0.1)
    half = Examples(shards, 256, dense, seed=3, short=0.5)
    read = [
        len(reconstruct(*row))
        for row in zip(*map(np.ndarray.tolist, half.batch(range(400))), strict=True)
    ]
    assert np.mean(read) == pytest.approx(half.mean_bytes(400), rel=0.1)


@given(
    st.integers(2, 60),
    st.integers(0, 1000),
    st.sampled_from([0.05, 0.15, 0.5, 0.9]),
    st.booleans(),
)
def test_shortened_texts_of_any_shard_are_whole(tmp_path_factory, size, seed, density, whole):
    with ShardWriter(tmp_path_factory.mktemp("source") / "only", "0") as writer:
        writer.write(("가나다 abc é🙂" * 9)[:size])
    corruption = SpanCorruption(density, whole_characters=whole)
    examples = Examples(Shards(writer.folder.parent), 32, corruption, seed=seed, short=1.0)
    for row in zip(*map(np.ndarray.tolist, examples.batch(range(8))), strict=True):
        reconstruct(*row).decode()
        assert any(i >= 248 for i in row[0])
        if whole:
            kept = bytes(255 if i >= 248 else i - 3 for i in row[0] if i > 2)
            for piece in kept.split(b"\xff"):
                piece.decode()


def test_too_short_an_input_is_refused(shards):
    with pytest.raises(InputError, match="input length 31"):
        Examples(shards, 31)


@pytest.mark.parametrize(("length", "density"), [(64, 0.15), (1024, 0.01), (32, 0.3)])
@pytest.mark.parametrize("copies", [Share(0.1), Share(0.0, early=0.5, examples=10)])
def test_copies_of_hardly_any_text_are_refused(shards, length, density, copies):
    with pytest.raises(
        InputError, match=r"copies would have .*; raise --density or --input-length"
    ):
        Examples(shards, length, SpanCorruption(density), copies=copies)
    Examples(shards, length, SpanCorruption(density))
