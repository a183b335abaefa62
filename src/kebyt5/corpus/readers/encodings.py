"""Decoding text, and telling damaged text from text in another encoding."""

import codecs

from kebyt5.errors import InputError

_WIDE = {
    "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}
"""Encodings that are not read, by how their files begin; the longer marks first."""


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
        for wide, marks in _WIDE.items():
            if data.startswith(marks):
                remedy = f"convert it first (iconv -f {wide.lower()} -t utf-8)"
                raise InputError(f"{place}: {wide}, not {encoding}; {remedy}") from error
        if _name(encoding) == "utf-8" and _is_cp949(data):
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


def _is_cp949(data: bytes) -> bool:
    """Tells whether bytes that are not UTF-8 make sense in CP949: mostly the Hangul of KS X 1001.

    Damaged UTF-8 often decodes as CP949 too, but then most of it is still valid as UTF-8, and CP949
    gives hanja and syllables that do not occur in words.
    """
    try:
        text = codecs.getincrementaldecoder("cp949")().decode(data)  # May end within a character.
    except UnicodeDecodeError:
        return False
    foreign = [character for character in text if character > "\x7f"]
    common = sum(
        "가" <= character <= "힣" and len(character.encode("euc_kr", "ignore")) == 2
        for character in foreign
    )
    kept = [character for character in data.decode("utf-8", "replace") if character > "\x7f"]
    return common > len(foreign) / 2 and kept.count("\ufffd") > len(kept) / 2


__all__ = ["NotText", "decode", "reads_as_utf8", "shows_encoding"]
