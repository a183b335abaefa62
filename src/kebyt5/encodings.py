"""Telling in which encoding bytes are that are not UTF-8."""

import codecs

from kebyt5.errors import InputError

_MARKS = {
    "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}
"""How texts in other encodings of Unicode begin; the longer marks first."""

_SAMPLE = 1 << 16
"""Bytes that tell the encoding of a file."""


def decode_utf8(data: bytes, name: str) -> str:
    """Decodes a file, without its byte order mark.

    Raises:
        InputError: It is not UTF-8; names the line and, if it shows, the encoding with the command
            that converts it.
    """
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        begin = data.rfind(b"\n", 0, error.start) + 1  # no byte of a character in CP949
        wide = wide_encoding(data)
        if wide or is_cp949(data[begin : begin + _SAMPLE]):
            found = wide or "CP949"
            problem = f"{found}, but expected UTF-8; {conversion(found)}"
        else:
            cause = f"{error.reason} {data[error.start]:#04x}"
            problem = f"not UTF-8 ({cause}); expected a text file in UTF-8"
        raise InputError(f"{name}:{line}: {problem}") from error


def conversion(encoding: str) -> str:
    """Returns the remedy for a file in an encoding that is not read."""
    return f"convert it first (iconv -f {encoding.lower()} -t utf-8)"


def wide_encoding(data: bytes) -> str | None:
    """Names the encoding of a text that begins with the byte order mark of UTF-16 or UTF-32."""
    return next((name for name, marks in _MARKS.items() if data.startswith(marks)), None)


def is_cp949(data: bytes) -> bool:
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
