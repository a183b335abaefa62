"""Span corruption: what is taken out can be put back, and is as much as it should be."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kebyt5.models.fast_path import fast_path
from kebyt5.models.native import is_compiled
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.pretraining.randomness import mix, permute
from kebyt5.pretraining.spans import MAX_SPANS, SpanCorruption, Spans, draw_spans, mask_spans
from tests.pretraining.samples import reconstruct

EOS = 1
corruptions = st.builds(
    SpanCorruption, st.floats(0.01, 0.9), st.floats(1, 100), whole_characters=st.booleans()
)
texts = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=2, max_size=300)
    | st.text("가나다 .", min_size=2, max_size=100),
    min_size=1,
    max_size=8,
)


def corrupt(corruption, sources, seed=0, begin=0, **widths):
    """Input and target of byte strings; each begins at `begin` in its row."""
    sizes = np.array([len(source) for source in sources])
    rows = np.full((len(sources), begin + sizes.max()), ord("?"), np.uint8)
    for row, source in zip(rows, sources, strict=True):
        row[begin : begin + len(source)] = np.frombuffer(source, np.uint8)
    keys = mix(np.arange(seed, seed + len(sources), dtype=np.uint64))
    spans = draw_spans(corruption, sizes, keys, rows[:, begin:])
    return spans, mask_spans(rows, np.full(len(sources), begin), sizes, spans, **widths)


@given(texts, corruptions, st.integers(0, 2**40), st.integers(0, 5))
def test_input_and_target_give_back_the_source(sources, corruption, seed, begin):
    sources = [text.encode() for text in sources]
    spans, batch = corrupt(corruption, sources, seed, begin)
    for source, inputs, labels in zip(sources, *batch, strict=True):
        inputs, labels = inputs.tolist(), labels.tolist()
        assert reconstruct(inputs, labels) == source
        assert set(inputs[inputs.index(EOS) + 1 :]) <= {0}
        assert set(labels[labels.index(EOS) + 1 :]) <= {-100}
        # The text begins with what is kept and ends with a span.
        assert inputs[0] < 248
        assert inputs[inputs.index(EOS) - 1] >= 248
    for source, starts, ends, count in zip(sources, *spans, strict=True):
        assert 1 <= count <= MAX_SPANS
        assert (starts[:count] < ends[:count]).all()
        assert ends[count - 1] == len(source)
        if not corruption.whole_characters:
            masked = (ends - starts).sum()
            assert masked == min(max(round(len(source) * corruption.density), 1), len(source) - 1)


@given(texts, corruptions, st.integers(0, 2**40))
def test_whole_characters_stay_whole_where_there_are_several(sources, corruption, seed):
    corruption = SpanCorruption(corruption.density, corruption.mean_span, whole_characters=True)
    sources = [text.encode() for text in sources]
    spans, _ = corrupt(corruption, sources, seed)
    for source, starts, ends, count in zip(sources, *spans, strict=True):
        for begin, end in zip(starts[:count], ends[:count], strict=True):
            source[begin:end].decode()


@given(texts, st.integers(0, 2**40))
def test_an_example_does_not_depend_on_its_batch(sources, seed):
    sources = [text.encode() for text in sources]
    widths = {"input_length": 1300, "target_length": 400}
    _, batch = corrupt(SpanCorruption(), sources, seed, **widths)
    for number, source in enumerate(sources):
        _, alone = corrupt(SpanCorruption(), [source], seed + number, begin=2, **widths)
        assert np.array_equal(alone.input_ids[0], batch.input_ids[number])
        assert np.array_equal(alone.labels[0], batch.labels[number])


@pytest.fixture
def without_kernels(monkeypatch):
    """Calls a function once more without the compiled functions, which have to be there."""
    if not is_compiled() and "CI" not in os.environ:
        pytest.skip("kebyt5 was installed without a C compiler, or this is no Linux on x86-64")
    assert is_compiled()

    def call(function, *arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(fast_path, "kernels", False)
            return function(*arguments, **options)

    return call


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, corruptions, st.integers(0, 2**40), st.integers(0, 5))
def test_compiled_functions_draw_and_mask_the_same(
    without_kernels, sources, corruption, seed, begin
):
    sources = [text.encode() for text in sources]
    compiled = corrupt(corruption, sources, seed, begin)
    plain = without_kernels(corrupt, corruption, sources, seed, begin)
    for ours, expected in zip((*compiled[0], *compiled[1]), (*plain[0], *plain[1]), strict=True):
        assert np.array_equal(ours, expected)
        assert ours.dtype == expected.dtype == np.int64


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 2**40), min_size=1), st.integers(0, 2**64 - 1))
def test_compiled_functions_permute_the_same(without_kernels, sizes, secret):
    sizes = np.array(sizes, np.uint64)
    given = (mix(sizes) % sizes, sizes, mix(sizes ^ np.uint64(secret)))
    assert np.array_equal(permute(*given), without_kernels(permute, *given))


def test_a_text_without_spans_is_to_be_copied(without_kernels):
    rows = np.frombuffer("하늘이 맑다 하늘이 맑다.".encode(), np.uint8).reshape(2, -1)[:, ::-1]
    begins, sizes = np.array([1, 0]), np.array([5, 9])
    nothing, one = np.zeros((2, MAX_SPANS), int), np.zeros((2, MAX_SPANS), int)
    nothing[1, 0], one[1, 0] = 2, 4
    arguments = rows, begins, sizes, Spans(nothing, one, np.array([0, 1]))
    for batch in (mask_spans(*arguments), without_kernels(mask_spans, *arguments)):
        copied = [*(rows[0, 1:6] + 3).tolist(), EOS]
        assert batch.input_ids[0].tolist() == [*copied, 0, 0, 0]
        assert batch.labels[0].tolist() == copied
        masked = (rows[1, :9] + 3).tolist()
        assert batch.input_ids[1].tolist() == [*masked[:2], 258, *masked[4:], EOS]
        assert batch.labels[1].tolist() == [258, *masked[2:4], EOS, -100, -100]


def test_other_integers_do_and_a_text_outside_its_row_does_not(without_kernels):
    sources = [b"x" * 300, b"y" * 40]
    rows, begins = np.zeros((2, 300), np.int32), np.zeros(2, np.int32)
    sizes, keys = np.array([300, 40], np.int32), mix(np.arange(2, dtype=np.uint64))
    for row, source in zip(rows, sources, strict=True):
        row[: len(source)] = list(source)
    spans = draw_spans(SpanCorruption(), sizes, keys, rows)
    assert np.array_equal(
        spans.starts, without_kernels(draw_spans, SpanCorruption(), sizes, keys, rows).starts
    )
    for call in (lambda f, *x: f(*x), without_kernels):
        batch = call(mask_spans, rows, begins, sizes, spans)
        assert [
            reconstruct(*map(np.ndarray.tolist, pair)) for pair in zip(*batch, strict=True)
        ] == sources
        for moved in (begins + 1, begins - 1):
            with pytest.raises(ValueError, match="not within its row of 300"):
                call(mask_spans, rows, moved, sizes, spans)


def test_the_published_lengths():
    corruption = SpanCorruption()
    assert corruption.raw_length(1024) == 1193
    assert corruption.lengths(1193) == (1024, 189)
    _, batch = corrupt(corruption, ["가".encode() * 397 + b"ab"] * 4)
    assert batch.input_ids.shape == (4, 1024)
    assert batch.labels.shape == (4, 189)
    assert (batch.input_ids[:, -1] == EOS).all()
    assert (batch.labels[:, -1] == EOS).all()


@given(st.integers(6, 30_000), corruptions)
def test_raw_length_is_the_most_that_fits(input_length, corruption):
    raw = corruption.raw_length(input_length)
    assert corruption.lengths(raw)[0] <= input_length < corruption.lengths(raw + 1)[0]


def test_long_inputs_have_longer_spans_instead_of_more_than_eleven():
    source = b"x" * 20_000
    spans, batch = corrupt(SpanCorruption(), [source])
    assert spans.counts.tolist() == [11]
    assert (spans.ends - spans.starts).sum() == 3_000
    assert ((batch.labels > 247) & (batch.labels < 259)).sum() == 11
    sentinels = [ByteTokenizer.pretraining_sentinel_id(i) for i in range(11)]
    assert [i for i in batch.labels[0].tolist() if i > 247] == sentinels


def law_of_t5(size, parts, rng, draws):
    """T5's `_random_segmentation`, as its definition reads: segments begin where a shuffled row of
    so many marks has one."""
    lengths = np.zeros((draws, parts), np.int64)
    for row in lengths:
        begins = rng.permutation(np.arange(size - 1) < parts - 1)
        row += np.bincount(np.concatenate([[0], np.cumsum(begins)]), minlength=parts)
    return lengths


def test_spans_follow_the_law_of_t5():
    size, draws = 60, 40_000
    corruption = SpanCorruption(density=0.2, mean_span=3)  # 12 bytes in 4 spans
    keys = mix(np.arange(draws, dtype=np.uint64))
    spans = draw_spans(corruption, np.full(draws, size), keys, np.zeros((draws, size), np.uint8))
    masked = (spans.ends - spans.starts)[:, :4]
    kept = np.diff(np.insert(spans.ends[:, :4], 0, 0, axis=1), axis=1) - masked
    rng = np.random.default_rng(0)
    for ours, total in ((masked, 12), (kept, 48)):
        theirs = law_of_t5(total, 4, rng, draws)
        assert ours.sum(1).tolist() == [total] * draws
        for part in range(4):
            frequencies = [
                np.bincount(lengths[:, part], minlength=total) / draws for lengths in (ours, theirs)
            ]
            # Four standard deviations of a difference between two frequencies.
            allowed = 4 * np.sqrt(2 * np.maximum(frequencies[1], 4 / draws) / draws)
            assert (np.abs(frequencies[0] - frequencies[1]) < allowed).all()
        correlation = np.corrcoef(ours.T)[np.triu_indices(4, 1)]
        assert correlation == pytest.approx(-1 / 3, abs=0.02)
    # What is masked tells nothing of what is kept.
    assert np.corrcoef(masked[:, 0], kept[:, 0])[0, 1] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("density", "mean_span"), [(0.0, 20), (1.0, 20), (0.15, 0.5)])
def test_settings_without_sense_are_refused(density, mean_span):
    with pytest.raises(ValueError, match="density"):
        SpanCorruption(density, mean_span)


def test_an_example_that_is_too_long_for_its_width_is_an_error():
    with pytest.raises(ValueError, match="do not fit"):
        corrupt(SpanCorruption(), [b"x" * 100], input_length=50)
