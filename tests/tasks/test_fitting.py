import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.models.offsets import byte_length
from kebyt5.tasks.fitting import truncate_longest, windows


@given(st.text(st.characters()), st.integers(4, 40), st.integers(4, 40))
def test_windows_cover_the_text(text: str, one: int, other: int) -> None:
    stride, max_bytes = sorted((one, other))
    pieces = [text[start:end] for start, end in windows(text, max_bytes, stride)]
    place = 0
    for piece in pieces:
        # Where the next begins, which is not after the end of this one.
        assert byte_length(piece) <= max_bytes
        assert text[place:].startswith(piece)
        end = place + len(piece)
        while place < end and byte_length(text[end - len(piece) : place + 1]) <= stride:
            place += 1
    assert end == len(text)
    if byte_length(text) <= max_bytes:
        assert pieces == [text]


@pytest.mark.parametrize(("max_bytes", "stride"), [(10, 11), (10, 3), (3, 3)])
def test_windows_with_gaps_or_without_room_are_refused(max_bytes: int, stride: int) -> None:
    with pytest.raises(ValueError, match="stride"):
        windows("가나다", max_bytes, stride)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.text(st.characters()), min_size=1),
    st.integers(0, 200),
)
def test_the_longest_fields_are_truncated_first(fields: dict[str, str], excess: int) -> None:
    short = truncate_longest(fields, excess)
    assert all(fields[name].startswith(text) for name, text in short.items())
    before, after = (sum(map(byte_length, texts.values())) for texts in (fields, short))
    assert before - after >= min(excess, before)
    # Rounding to whole characters takes at most three bytes of each more than was asked for.
    assert before - after < excess + 4 * len(fields)
    cut = [byte_length(text) for name, text in short.items() if text != fields[name]]
    whole = [byte_length(text) for name, text in short.items() if text == fields[name]]
    assert not cut or not whole or max(whole) <= min(cut) + 4
