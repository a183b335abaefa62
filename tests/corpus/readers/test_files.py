"""Files are found, opened and decompressed; errors name the file."""

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import sys
import tarfile
import tracemalloc
import unicodedata
import zipfile

import fsspec
import pyarrow
import pytest
from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.corpus.readers import get_reader
from kebyt5.corpus.readers.encodings import NotText, decode
from kebyt5.corpus.readers.files import find_files
from kebyt5.corpus.readers.lines import read_lines
from kebyt5.corpus.tally import Tally
from kebyt5.errors import InputError

SENTENCES = "산길을 따라 천천히 걸었다.\n\n바람이 불었다."


def read(path, **options):
    return [document.text for document in get_reader("text")(**options).read(str(path))]


def test_paths_are_files_folders_or_patterns(tmp_path):
    for name in ("b.txt", "a.txt", "sub/c.txt", "sub/.hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [f"{tmp_path}/{name}" for name in ("a.txt", "b.txt", "sub/c.txt")]
    assert find_files(str(tmp_path)) == names
    assert find_files(f"{tmp_path}/*.txt") == names[:2]
    assert find_files(f"{tmp_path}/**/*.txt") == names
    (tmp_path / ".hidden.txt").touch()
    assert find_files(f"{tmp_path}/*") == find_files(f"{tmp_path}/**") == names
    assert find_files(names[1]) == names[1:2]
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "d.txt").touch()
    assert find_files(f"{tmp_path}/**/*.txt") == find_files(f"{tmp_path}/**") == names
    assert find_files(f"{tmp_path}/sub/.hidden") == [f"{tmp_path}/sub/.hidden"]
    for nothing in ("none.txt", "*.json"):
        with pytest.raises(InputError, match="no such file, or a pattern that matches none"):
            find_files(f"{tmp_path}/{nothing}")


def test_names_may_look_like_patterns_and_lie_below_hidden_folders(tmp_path):
    folder = tmp_path / ".data" / "[원천]신문"
    folder.mkdir(parents=True)
    path = folder / "[1월]?.txt"
    path.write_text(SENTENCES)
    for place in (path, folder, folder.parent, f"{tmp_path}/.data/*/*.txt"):
        (found,) = find_files(str(place))
        assert found == str(path)
        assert read(found) == SENTENCES.split("\n\n")


def test_remote_paths_keep_their_protocol():
    with fsspec.open("memory://corpus/a.txt", "w") as file:
        file.write(SENTENCES)
    (path,) = find_files("memory://corpus/*.txt")
    assert path == "memory:///corpus/a.txt"
    assert read(path) == SENTENCES.split("\n\n")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("s3://bucket/x/*.txt", "s3fs.*; pip install s3fs for s3://, gcsfs for gs://"),
        ("gs://bucket/x.txt", "gcsfs.*; pip install s3fs for s3://, gcsfs for gs://"),
        ("klingon://bucket/x.txt", "cannot be reached: .*klingon; check the address"),
        ("https://127.0.0.1:1/x.txt", "cannot be reached: .*; check the address"),
        ("https://127.0.0.1:1/*.txt", "cannot be reached: .*; check the address"),
    ],
)
def test_what_cannot_be_reached_is_named_with_a_remedy(path, problem, monkeypatch):
    for package in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"^{re.escape(path)}: .*{problem}"):
        find_files(path)


ZSTD = pyarrow.Codec("zstd")
PACKED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: ZSTD.compress(data, asbytes=True),
    # As several processes, or `cat`, write it.
    "joined.zst": lambda data: b"".join(
        ZSTD.compress(part, asbytes=True) for part in (data[:10], data[10:])
    ),
}


@pytest.mark.parametrize("suffix", PACKED)
def test_compressed_files_are_read_whole_or_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    packed = PACKED[suffix](SENTENCES.encode() * 1000)
    path.write_bytes(packed)
    assert "\n\n".join(read(path)) == SENTENCES * 1000
    path.write_bytes(packed[:-20])
    with pytest.raises(InputError, match=f"a.{suffix}: (damaged|cannot be read)"):
        read(path)


@pytest.mark.parametrize(
    "suffix", ["tar", "TAR", "tar.gz", "tgz", "tbz2", "txz", "tar.zst", "TZST"]
)
def test_archives_are_read_whatever_their_compression(tmp_path, suffix):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", encoding="cp949") as archive:
        entry = tarfile.TarInfo("원천/나.txt")
        entry.size = len(SENTENCES.encode())
        archive.addfile(entry, io.BytesIO(SENTENCES.encode()))
    kinds = {"gz": "gz", "tgz": "gz", "tbz2": "bz2", "txz": "xz", "zst": "zst", "tzst": "zst"}
    pack = PACKED.get(kinds.get(suffix.lower().split(".")[-1], ""), lambda data: data)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(pack(tar.getvalue()))
    documents = list(get_reader("text")().read(str(path)))
    assert [each.text for each in documents] == SENTENCES.split("\n\n")
    assert [each.id for each in documents] == [f"{path}/원천/나.txt:{line}" for line in (1, 3)]


def archive_of(texts, name="{}.txt"):
    """A tar archive with a file for each text."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for number, text in enumerate(texts):
            entry = tarfile.TarInfo(name.format(number))
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return tar.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("cut", [1024 * 3, 1024 * 3 + 700])
def test_an_archive_may_be_packed_in_several_parts(tmp_path, pack, cut):
    tar = archive_of([f"{n}".encode() for n in range(10)])
    ending = {"gzip": "gz", "bz2": "bz2", "lzma": "xz"}[pack.__module__]
    path = tmp_path / f"a.tar.{ending}"
    path.write_bytes(pack(tar[:cut]) + pack(tar[cut:]))
    assert read(path) == [f"{n}" for n in range(10)]


def test_damage_in_an_archive_does_not_pass_for_its_end(tmp_path):
    tar = archive_of([b"text"] * 10)
    whole = gzip.compress(tar)
    checksum, header = bytearray(whole), bytearray(tar)
    checksum[-8] ^= 1
    header[1024 * 3] ^= 1
    for name, content in (
        ("checksum.tar.gz", checksum), ("cut.tar.gz", whole[:-20]), ("header.tar", header),
        ("cut.tar", tar[: 1024 * 3 + 100]), ("two.tar", tar + tar), ("empty.txt.gz", b""),
        ("empty.txt.zst", b""),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: damaged: .*; get the file again"):
            read(tmp_path / name)


def test_packed_files_in_archives_are_unpacked_and_archives_are_defects(tmp_path):
    packed = [gzip.compress(SENTENCES.encode())]
    (tmp_path / "a.tar").write_bytes(archive_of(packed, "{}.txt.gz"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("0.txt.gz", packed[0])
    for name in ("a.tar", "a.zip"):
        assert read(tmp_path / name) == SENTENCES.split("\n\n")
    (tmp_path / "b.tar").write_bytes(archive_of([archive_of(packed)], "{}.tar"))
    for reader in ("text", "jsonl"):
        (document,) = get_reader(reader)().read(f"{tmp_path}/b.tar")
        assert document.metadata["defect"] == "an archive in an archive"
        assert document.id == f"{tmp_path}/b.tar/0.tar"


def test_remote_files_are_read_by_lines():
    """The files of s3fs and the like cannot read part of a line."""

    class File(AbstractBufferedFile):
        def _fetch_range(self, start, end):
            return SENTENCES.encode()[start:end]

    class Remote(AbstractFileSystem):
        protocol = "remote"

        def info(self, path, **options):
            return {"name": path, "size": len(SENTENCES.encode()), "type": "file"}

        def _open(self, path, mode="rb", **options):
            return File(self, path, mode, size=self.info(path)["size"])

    fsspec.register_implementation("remote", Remote, clobber=True)
    assert read("remote://a.txt") == SENTENCES.split("\n\n")


def test_colons_in_a_name_chain_nothing(tmp_path):
    path = tmp_path / "a::b" / "c::d.txt"
    path.parent.mkdir()
    path.write_text(SENTENCES)
    for place in (path, path.parent):
        assert find_files(str(place)) == [str(path)]
    assert read(path) == SENTENCES.split("\n\n")


def test_a_file_at_several_paths_is_read_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/1.txt", "a/b/2.txt"):
        (tmp_path / name).write_text("가")
    found = get_reader("text")().files([str(tmp_path / "a"), "a/b", "a/*.txt", "./a/1.txt"])
    assert found == [str(tmp_path / "a" / "1.txt"), str(tmp_path / "a" / "b" / "2.txt")]


def test_links_in_a_folder_are_followed_once(tmp_path):
    for name in ("data/a.txt", "other/b.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(SENTENCES)
    (tmp_path / "data" / "link").symlink_to("../other")
    (tmp_path / "data" / "same").symlink_to("../other")
    (tmp_path / "data" / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "data" / "pipe")
    assert find_files(f"{tmp_path}/data") == [
        f"{tmp_path}/data/{n}" for n in ("a.txt", "link/b.txt")
    ]
    (tmp_path / "data" / "gone.txt").symlink_to("nowhere")
    assert f"{tmp_path}/data/gone.txt" in find_files(f"{tmp_path}/data")


def test_links_in_an_archive_are_passed_over(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "a.txt").write_text(SENTENCES)
    (folder / "hard.txt").hardlink_to(folder / "a.txt")
    (folder / "soft.txt").symlink_to("a.txt")
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder)
        kinds = [entry.type for entry in archive.getmembers()]
    assert sorted(kinds) == [tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE]
    assert read(path) == SENTENCES.split("\n\n")


def test_links_in_a_zip_file_are_passed_over(tmp_path):
    path, link = tmp_path / "a.zip", zipfile.ZipInfo("soft.txt")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", SENTENCES)
        archive.writestr(link, "../어딘가의 파일.txt")
    assert read(path) == SENTENCES.split("\n\n")


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.txt").touch()
    (tmp_path / "locked").mkdir()

    def scandir(path, real=os.scandir):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(InputError, match=r"Permission denied.*locked"):
        find_files(str(tmp_path))


def test_a_zip_file_with_a_name_in_another_encoding_than_it_says_is_named(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("가나.txt", SENTENCES)
    path.write_bytes(path.read_bytes().replace("가나".encode(), "가나뷁".encode("cp949")))
    with pytest.raises(InputError, match=r"a.zip: .*; unpack it with another program first"):
        read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_names_in_zip_files_may_be_in_an_encoding_that_is_not_named(tmp_path, encoding):
    path = tmp_path / "a.zip"
    name = "원천/첫째.txt".encode(encoding)
    placeholder = "x" * len(name)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(placeholder, SENTENCES)
    path.write_bytes(path.read_bytes().replace(placeholder.encode(), name))
    documents = list(get_reader("text")().read(str(path)))
    assert [each.id for each in documents] == [f"{path}/원천/첫째.txt:{line}" for line in (1, 3)]


@pytest.mark.parametrize("suffix", ["GZ", "ZIP"])
def test_endings_may_be_in_capitals(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "GZ":
        path.write_bytes(gzip.compress(SENTENCES.encode()))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", SENTENCES)
    assert read(path) == SENTENCES.split("\n\n")


def test_names_may_be_cp949(tmp_path):
    path = os.fsencode(tmp_path) + "/원천.txt".encode("cp949")
    with open(path, "w", encoding="utf-8") as file:
        file.write(SENTENCES)
    (found,) = find_files(str(tmp_path))
    assert os.fsencode(found) == path
    documents = list(get_reader("text")().read(found))
    assert [each.text for each in documents] == SENTENCES.split("\n\n")
    assert documents[0].id == f"{tmp_path}/원천.txt:1"


@pytest.mark.parametrize("pattern", ["자료/원천.txt", "자료/*천*.txt", "자료"])
def test_names_match_in_any_normal_form(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    (tmp_path / unicodedata.normalize("NFD", "자료")).mkdir()
    path = tmp_path / unicodedata.normalize("NFD", "자료/원천.txt")
    path.write_text(SENTENCES)
    for form in ("NFC", "NFD"):
        assert find_files(unicodedata.normalize(form, pattern)) == [str(path)]


def test_folders_and_files_may_have_different_normal_forms(tmp_path):
    folder, file = unicodedata.normalize("NFC", "자료"), unicodedata.normalize("NFD", "원천.txt")
    (tmp_path / folder).mkdir()
    (tmp_path / folder / file).write_text(SENTENCES)
    for name in ("원천.txt", "원*.txt"):
        assert find_files(f"{tmp_path}/자료/{name}") == [f"{tmp_path}/{folder}/{file}"]


def test_a_pattern_finds_names_of_both_normal_forms(tmp_path):
    paths = {tmp_path / unicodedata.normalize(form, f"원천 {form}.txt") for form in ("NFC", "NFD")}
    for path in paths:
        path.write_text(SENTENCES)
    assert set(find_files(f"{tmp_path}/원천*")) == set(map(str, paths))


def test_a_damaged_xz_file_is_named(tmp_path):
    path = tmp_path / "a.xz"
    path.write_bytes(lzma.compress(SENTENCES.encode())[:-2] + b"??")
    with pytest.raises(InputError, match=r"a.xz: damaged: .*; get the file again"):
        read(path)


@pytest.mark.parametrize(
    ("offset", "value", "problem"),
    [(6, 1, "password required"), (8, 9, "compression")],
    ids=["password", "deflate64"],
)
def test_zip_files_that_python_cannot_read_are_named(tmp_path, offset, value, problem):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b.txt", SENTENCES)
    data = bytearray(path.read_bytes())
    # The same field stands before the member and, two bytes further on, in the directory.
    for place in (data.index(b"PK\3\4") + offset, data.index(b"PK\1\2") + offset + 2):
        data[place] = value
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"a.zip/b.txt: .*{problem}.*; unpack it with another"):
        read(path)


@given(st.lists(st.binary(max_size=12)), st.integers(1, 9))
def test_parts_of_lines_add_up_to_the_file(lines, limit):
    import io

    data = b"\n".join(line.replace(b"\r", b"") for line in lines)
    found = {}
    for number, part, goes_on in read_lines(io.BytesIO(data), limit):
        assert len(part) <= limit
        begun, ended = found.get(number, (b"", False))
        assert not ended
        found[number] = (begun + part, not goes_on)
    assert all(ended for _, ended in found.values())
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert [line for line, _ in found.values()] == expected


def test_a_line_of_100_mb_needs_no_more_memory_than_the_limit(tmp_path):
    path = tmp_path / "a.txt"
    with open(path, "w") as file:
        for _ in range(100):
            file.write("한" * 349_525)  # 1 MiB
    for name, count in (("text", 101), ("jsonl", 1)):
        reader = get_reader(name)(max_bytes=1 << 20)
        tracemalloc.start()
        assert sum(1 for _ in reader.read(str(path))) == pytest.approx(count, abs=1)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20 << 20


# Encodings

KOREAN = "국경의 긴 터널을 빠져나오자 눈의 고장이었다."


def test_cp949_is_named_with_the_option_that_then_works(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(f"good\n\n{KOREAN}\n\n똠방각하".encode("cp949"))
    with pytest.raises(InputError) as refused:
        read(path)
    assert str(refused.value) == (
        f"{path}:3: not UTF-8 but CP949 (EUC-KR); set `encoding: cp949` for this source"
    )
    assert read(path, encoding="cp949") == ["good", KOREAN, "똠방각하"]
    path.write_bytes((KOREAN * 1000).encode("cp949"))
    with pytest.raises(InputError, match=f"{path}:1: not UTF-8 but CP949"):
        read(path, max_bytes=1024)
    # One such line among others of UTF-8 is a damaged line.
    path.write_bytes(f"{KOREAN}\n".encode() + f"{KOREAN}\n".encode("cp949") + KOREAN.encode())
    documents = list(get_reader("text")(documents="line").read(str(path)))
    assert [each.metadata.get("defect") for each in documents] == [None, "not utf-8", None]
    assert "CP949" in documents[1].metadata["detail"]


@pytest.mark.parametrize("name", ["table", "jsonl"])
def test_cp949_is_named_where_a_line_is_too_long_to_be_read(tmp_path, name):
    path = tmp_path / "a.txt"
    path.write_bytes((KOREAN * 1000).encode("cp949") + b"\n")
    with pytest.raises(InputError, match=f"{path}:1: not UTF-8 but CP949"):
        list(get_reader(name)(max_bytes=1024).read(str(path)))


def test_utf8_in_a_source_of_cp949_is_named_too(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("".join(chr(code) for code in range(0xAC00, 0xAC40)))
    with pytest.raises(InputError, match="UTF-8, not cp949; set `encoding: utf-8`"):
        read(path, encoding="cp949")
    path.write_text("최고\n정말 재미있는 영화였다\n")  # the first line has a meaning in CP949, too
    assert "최고".encode().decode("cp949")
    with pytest.raises(InputError, match=r"a.txt:2: UTF-8, not cp949"):
        read(path, encoding="cp949", documents="line")


def test_utf16_and_utf32_are_refused_with_a_remedy(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(KOREAN.encode("utf-32"))
    with pytest.raises(InputError, match=r"a.txt:1: UTF-32, not utf-8; .*iconv -f utf-32"):
        read(path)
    path.write_bytes(KOREAN.encode("utf-16"))
    with pytest.raises(InputError, match=r"a.txt:1: UTF-16, not utf-8; convert it first \(iconv"):
        read(path)
    with pytest.raises(InputError, match="has other line ends than ASCII"):
        get_reader("text")(encoding="utf-16")
    with pytest.raises(InputError, match="unknown"):
        get_reader("text")(encoding="klingon")


@given(st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=4, max_size=30))
def test_damaged_utf8_is_not_taken_for_cp949(text):
    damaged = text.encode()[:-1]
    with pytest.raises(NotText):
        decode(damaged, "utf-8", "a:1")


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_a_damaged_byte_costs_its_part_of_a_long_line_only(padding, tmp_path):
    path = tmp_path / "a.txt"
    line = b"a" * padding + b"\xff" + ("가나다라마" * 2000).encode()
    path.write_bytes(line)
    documents = list(get_reader("text")(max_bytes=1024).read(str(path)))
    defects = [each for each in documents if "defect" in each.metadata]
    assert len(defects) == 1
    kept = sum(len(each.text.encode()) for each in documents if each not in defects)
    assert len(line) - kept < 1024 + 3


def test_damaged_lines_are_defects(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(KOREAN.encode() + b"\n" + KOREAN.encode()[:-2] + b"\n" + KOREAN.encode())
    documents = list(get_reader("text")(documents="line").read(str(path)))
    assert [document.metadata.get("defect") for document in documents] == [None, "not utf-8", None]
    assert documents[1].id == f"{path}:2"
    assert documents[1].text.startswith(KOREAN[:-2])


def test_all_bytes_of_what_is_dropped_count(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "' + "가" * 5000)
    (document,) = get_reader("jsonl")().read(str(path))
    document.metadata["source"] = "a"
    tally = Tally(tmp_path)
    tally.count(document, document.metadata["defect"])
    assert tally.counts == {"a": {"not JSON": [1, path.stat().st_size]}}
