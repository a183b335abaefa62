"""A file that is not UTF-8 is refused with the line, and with the remedy where it shows."""

import re
import subprocess

import pytest

from kebyt5.encodings import decode_utf8
from kebyt5.errors import InputError

TABLE = "text,target\n" + "오늘 비가 온다,우산을 챙기세요\n" * 3


def test_utf8_loses_its_byte_order_mark_only():
    assert decode_utf8(f"\ufeff{TABLE}\ufeff".encode(), "a.csv") == f"{TABLE}\ufeff"


@pytest.mark.parametrize(("encoding", "line"), [("cp949", 2), ("utf-16", 1), ("utf-32", 1)])
def test_another_encoding_is_named_with_the_command_that_converts_it(tmp_path, encoding, line):
    path = tmp_path / "a.csv"
    path.write_bytes(TABLE.encode(encoding))
    with pytest.raises(InputError) as refused:
        decode_utf8(path.read_bytes(), "a.csv")
    assert str(refused.value).startswith(f"a.csv:{line}: {encoding.upper()}, but expected UTF-8; ")
    (command,) = re.findall(r"\((iconv .*)\)", str(refused.value))
    done = subprocess.run([*command.split(), path], capture_output=True, check=True)
    assert decode_utf8(done.stdout, "b.csv") == TABLE


def test_damaged_utf8_is_not_taken_for_another_encoding():
    damaged = TABLE.encode()[:-2] + b"\n"
    with pytest.raises(InputError, match=r"^a:4: not UTF-8 \(.*\); expected a text file in UTF-8$"):
        decode_utf8(damaged, "a")


@pytest.mark.parametrize("text", ["これはひらがなです。", "Ça coûte 3 €, déjà !"])
def test_other_languages_are_not_taken_for_korean(text):
    data = text.encode("euc_jp" if "な" in text else "cp1252")
    with pytest.raises(InputError, match=r"^a:1: not UTF-8 \(.*\); expected"):
        decode_utf8(data, "a")
