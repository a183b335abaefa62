"""What the automaton admits is what Python decodes strictly."""

from hypothesis import example, given
from hypothesis import strategies as st

from kebyt5.generation.constraints import UTF8

EOS = 1


def admits(constraint, data):
    """Whether the bytes are admitted one after the other, and the end behind them."""
    state = constraint.start()
    for byte_id in [byte + 3 for byte in data]:
        if not constraint.allowed(state)[byte_id]:
            return False
        state = constraint.advance(state, byte_id)
    return bool(constraint.allowed(state)[EOS])


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


CONSTRAINT = UTF8()


@given(st.text())
def test_every_text_is_admitted(text):
    data = text.encode("utf-8", "ignore")
    assert admits(CONSTRAINT, data)
    assert not data or admits(CONSTRAINT, data[:-1]) == is_utf8(data[:-1])


@given(st.binary(max_size=5))
@example(b"\xc0\x80")
@example(b"\xe0\x9f\xbf")
@example(b"\xed\xa0\x80")
@example(b"\xf0\x8f\xbf\xbf")
@example(b"\xf4\x90\x80\x80")
def test_bytes_are_admitted_where_they_are_utf8(data):
    assert admits(CONSTRAINT, data) == is_utf8(data)


def test_all_of_two_bytes_and_all_lead_bytes():
    for lead in range(256):
        for second in range(256):
            # Second bytes of one range behave alike, so longer forms need not try them all.
            tails = (b"", b"\x80", b"\x80\x80") if second % 16 in (0, 15) else (b"",)
            for tail in tails:
                data = bytes([lead, second]) + tail
                assert admits(CONSTRAINT, data) == is_utf8(data)


def test_no_special_id_inside_a_character_and_no_sentinel_anywhere():
    inside = CONSTRAINT.advance(CONSTRAINT.start(), 0xED + 3)
    assert not CONSTRAINT.allowed(inside)[[0, 1, 2, *range(248, 384)]].any()
    assert not CONSTRAINT.allowed(CONSTRAINT.start())[[0, 2, *range(248, 384)]].any()
