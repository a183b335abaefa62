"""PPM-D against closed forms and against a plain implementation of its definition."""

from collections import Counter, defaultdict
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebyt5.bench.ppm import PPM

few_symbols = st.lists(st.sampled_from(b"abcd"), min_size=1, max_size=60).map(bytes)


def array(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)


def bits(model: PPM, text: bytes) -> float:
    """The cost of the last byte of a text in bits."""
    return float(model.bits(array(text), np.array([len(text) - 1]))[0])


def test_order_0_in_closed_form():
    model = PPM([array(b"aab")], order=0)
    assert bits(model, b"a") == pytest.approx(-log2(3 / 6))
    assert bits(model, b"b") == pytest.approx(-log2(1 / 6))
    # Escape, then one of the 254 bytes that were not seen.
    assert bits(model, b"z") == pytest.approx(-log2(2 / 6 / 254))


def test_order_1_in_closed_form():
    model = PPM([array(b"ababac")], order=1)
    # Behind a: b twice, c once. Behind b: a twice.
    assert bits(model, b"ab") == pytest.approx(-log2(3 / 6))
    assert bits(model, b"ac") == pytest.approx(-log2(1 / 6))
    # Without a context each of a, b, c counts once: seen behind one other byte. After the escape
    # from a, which knew b and c, only a is left: 1 of 2 halves, and the other half escapes.
    assert bits(model, b"aa") == pytest.approx(-log2(2 / 6 * 1 / 2))
    assert bits(model, b"az") == pytest.approx(-log2(2 / 6 * 1 / 2 / 253))
    # No context was seen, so nothing is paid for leaving it.
    assert bits(model, b"zb") == pytest.approx(-log2(1 / 6))
    assert bits(model, b"b") == pytest.approx(-log2(1 / 6))


def by_definition(texts: list[bytes], order: int, text: bytes) -> float:
    """Computes PPM-D with dictionaries, context by context."""
    windows = Counter(text[i : i + order + 1] for text in texts for i in range(len(text) - order))
    counts: list[dict[bytes, dict[int, int]]] = [{} for _ in range(order + 1)]
    for length in range(order, -1, -1):
        grouped: dict[bytes, dict[int, int]] = defaultdict(dict)
        for window, count in windows.items():
            grouped[window[:-1]][window[-1]] = count
        counts[length] = grouped
        windows = Counter(window[1:] for window in windows)
    cost, excluded = 0.0, set()
    for length in range(min(order, len(text) - 1), -1, -1):
        found = counts[length].get(text[len(text) - 1 - length : -1])
        if not found:
            continue
        left = {s: c for s, c in found.items() if s not in excluded}
        total = sum(left.values())
        if text[-1] in left:
            return cost - log2((2 * left[text[-1]] - 1) / (2 * total))
        if left:
            cost -= log2(len(left) / (2 * total))
        excluded |= set(found)
    return cost + log2(256 - len(excluded))


@given(st.lists(few_symbols, min_size=1, max_size=3), st.integers(0, 5), few_symbols)
def test_any_order_is_what_the_definition_says(texts, order, text):
    if all(len(text) <= order for text in texts):
        with pytest.raises(ValueError, match="longer than"):
            PPM(map(array, texts), order)
        return
    model = PPM(map(array, texts), order)
    found = model.bits(array(text), np.arange(len(text)))
    expected = [by_definition(texts, order, text[: i + 1]) for i in range(len(text))]
    assert found == pytest.approx(expected)


@settings(max_examples=30)
@given(few_symbols, st.binary(max_size=6))
def test_the_next_byte_is_some_byte(text, context):
    model = PPM([array(text)], order=min(3, len(text) - 1))
    total = sum(2 ** -bits(model, context + bytes([symbol])) for symbol in range(256))
    assert total == pytest.approx(1)


def test_large_texts_are_counted_in_parts(monkeypatch):
    text = np.random.default_rng(0).integers(97, 105, 5_000).astype(np.uint8)
    places = np.arange(len(text))
    whole = PPM([text], 4).bits(text, places)
    monkeypatch.setattr("kebyt5.bench.ppm._MAX_BYTES", 700)
    assert np.array_equal(PPM([text], 4).bits(text, places), whole)


def test_wrong_orders_are_refused():
    with pytest.raises(ValueError, match="order 8"):
        PPM([array(b"abc")], 8)
