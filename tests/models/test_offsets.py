"""Lengths and lone surrogates; the maps are tested as the tokenizer's."""

import pytest

from kebyt5.models.offsets import byte_length, has_surrogate, replace_surrogates


@pytest.mark.parametrize(
    ("text", "replaced"),
    [("", ""), ("a가🙂", "a가🙂"), ("가\ud83d", "가\ufffd"), ("\udfff\ud800", "\ufffd\ufffd")],
)
def test_lone_surrogates_are_found_replaced_and_as_long_as_their_replacement(text, replaced):
    assert has_surrogate(text) == (text != replaced)
    assert replace_surrogates(text) == replaced
    assert byte_length(text) == len(replaced.encode())
