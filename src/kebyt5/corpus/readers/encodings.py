"""Decoding text, and telling damaged text from text in another encoding."""

import codecs

from kebyt5.encodings import conversion, is_cp949, wide_encoding
from kebyt5.errors import InputError


class NotText(ValueError):
    """Bytes are not text in the encoding of their source."""


def decode(data: bytes, encoding: str, place: str) -> str:
    """Decodes a line or a file; if it is in another encoding, the error names that.

    Raises:
        NotText: The bytes are not in this encoding, perhaps because they are damaged.
        InputError: The bytes are in another known encoding, as the rest of the file will be.
    """
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if wide := wide_encoding(data):
            raise InputError(f"{place}: {wide}, not {encoding}; {conversion(wide)}") from error
        if _name(encoding) == "utf-8" and is_cp949(data):
            raise InputError(
                f"{place}: not UTF-8 but CP949 (EUC-KR); set `encoding: cp949` for this source"
            ) from error
        if _name(encoding) != "utf-8" and reads_as_utf8(data):
            raise InputError(
                f"{place}: UTF-8, not {encoding}; set `encoding: utf-8` for this source"
            ) from error
        byte = data[error.start]
        raise NotText(f"{error.reason}, byte {byte:#04x} at {error.start}") from error


def _name(encoding: str) -> str:
    return codecs.lookup(encoding).name


def reads_as_utf8(data: bytes) -> bool:
    """Tells whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def shows_encoding(text: str, data: bytes, encoding: str) -> bool:
    """Tells whether decoded bytes are evidence that their file is in this encoding.

    ASCII is the same in all encodings, and a short line of UTF-8 may also decode in another one by
    chance.
    """
    return not text.isascii() and (_name(encoding) == "utf-8" or not reads_as_utf8(data))
