"""Every reader, on a small file with the structure of its real source and sentences of our own."""

import ast
import gzip
import inspect
import io
import json
import re
import tarfile
import zipfile
from dataclasses import fields
from itertools import pairwise

import pyarrow
import pytest
import yaml
from pyarrow import parquet

from kebyt5.corpus.readers import READERS, get_reader
from kebyt5.errors import InputError


def read(name, path, **options):
    """Reads a file: the texts of documents, and (place, reason) of defects."""
    reader = get_reader(name)(**options)
    found = [document for file in reader.files([str(path)]) for document in reader.read(file)]
    folder = str(path.parent)
    assert all(document.id.startswith(folder) for document in found)
    return (
        [document.text for document in found if "defect" not in document.metadata],
        [
            (document.id.removeprefix(folder + "/"), document.metadata["defect"])
            for document in found
            if "defect" in document.metadata
        ],
    )


def places(name, path, **options):
    reader = get_reader(name)(**options)
    return [document.id.rpartition("/")[2] for document in reader.read(str(path))]


# Plain text

PARAGRAPHS = "봄이 왔다.\r\n꽃이 피었다.\r\n\r\n\r\n여름이 왔다.\r\n"


def test_text_is_divided_by_blank_lines_or_lines_or_not(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(("\ufeff" + PARAGRAPHS).encode())
    assert read("text", path) == (["봄이 왔다.\n꽃이 피었다.", "여름이 왔다."], [])
    assert places("text", path) == ["a.txt:1", "a.txt:5"]
    lines, _ = read("text", path, documents="line")
    assert lines == ["봄이 왔다.", "꽃이 피었다.", "", "", "여름이 왔다."]
    whole, _ = read("text", path, documents="file")
    assert whole == ["봄이 왔다.\n꽃이 피었다.\n\n\n여름이 왔다."]


def test_a_pattern_takes_the_text_out_of_lines(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("## 설명 : ##\n## id-1\t<서울:LC>에 갔다.\n서\tB-LC\n울\tI-LC\n")
    assert read("text", path, documents="line", pattern="^## id[^\t]*\t(.*)")[0] == [
        "<서울:LC>에 갔다."
    ]
    with pytest.raises(InputError, match="pattern"):
        get_reader("text")(pattern="(")
    # What a pattern matches may be in two parts of a line that is too long to be read at once.
    path.write_text("ID " + "가나다라" * 1000 + "\nID 짧은 줄\n")
    long = get_reader("text")(documents="line", pattern="^ID (.*)", max_bytes=1024)
    first, second = long.read(str(path))
    assert (first.id, first.metadata["defect"]) == (f"{path}:1", "line over 1,024 bytes")
    assert first.metadata["size"] == 12_003
    assert second.text == "짧은 줄"


@pytest.mark.parametrize(
    ("name", "options"), [("text", {"pattern": "(a+)"}), ("table", {"column": "ID"})]
)
@pytest.mark.parametrize("begin", [2_000, 2_100])  # the byte is in the second part, or the last
def test_a_long_line_that_cannot_be_divided_is_one_defect(tmp_path, name, options, begin):
    path, long = tmp_path / "a.txt", (b"a" * begin + b"\xff").ljust(2_101, b"b")
    path.write_bytes(b"ID\n" + long + b"\na\n")
    *_, bad, last = get_reader(name)(max_bytes=1024, **options).read(str(path))
    assert (bad.id, bad.metadata["defect"]) == (f"{path}:2", "line over 1,024 bytes")
    assert bad.metadata["size"] == len(long)
    assert last.text == "a"


def test_a_line_as_long_as_the_limit_has_nothing_behind_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a" * 2048 + "\nb\n")
    assert read("text", path, documents="line", max_bytes=1024) == (["a" * 1024] * 2 + ["b"], [])


def test_a_match_of_blanks_divides_paragraphs(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("하나\t1\n\t2\n둘\t3\n")
    assert read("text", path, pattern="^([^\t]*)") == (["하나", "둘"], [])


def test_blank_lines_divide_what_a_pattern_takes(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("# 1\n봄\tNNG\n이\tJKS\n\n# 2\n꽃\tNNG\n")
    options = {"pattern": "^([^#\t]+)\t"}
    assert read("text", path, **options) == (["봄\n이", "꽃"], [])
    assert read("text", path, documents="file", **options) == (["봄\n이\n꽃"], [])


def test_long_text_is_divided_between_characters(tmp_path):
    path = tmp_path / "a.txt"
    text = "가나다라마바사아자차카타파하" * 1000
    for encoding in ("utf-8", "cp949"):
        path.write_bytes(text.encode(encoding))
        texts, defects = read("text", path, max_bytes=1025, encoding=encoding)
        assert "".join(texts) == text
        assert not defects
        # A part begins with what was left of a character.
        assert max(len(part.encode(encoding)) for part in texts) <= 1025 + 3
    lines = [f"{number}번째 줄이다." for number in range(1000)]
    path.write_text("\n".join(lines))
    texts, _ = read("text", path, max_bytes=2000)
    assert "\n".join(texts).split("\n") == lines
    assert max(len(part.encode()) for part in texts) <= 2000


def test_kcbert_has_a_comment_in_every_line_of_a_packed_file(tmp_path):
    comments = "우산을 또 잃어버렸네 ㅋㅋㅋ\n비가 그쳤으니 다행이다;;\n"
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("20190101_20200611_v2.txt", comments)
    name = "kcbert-train.tar.gz"
    with tarfile.open(tmp_path / name, "w:gz") as archive:
        data = comments.encode()
        member = tarfile.TarInfo("20190101_20200611_v2.txt")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    for file in ("archive.zip", name):
        assert read("kcbert", tmp_path / file) == (comments.split("\n")[:2], [])


# Wikitext

WIKITEXT = """ = 징검다리 =

징검다리는 돌을 띄엄띄엄 놓아 만든 다리이다.

 = = 만드는 법 = =

물이 얕은 곳을 고른다.
1 + 1 = 2 이듯 돌 하나에 한 걸음이다.

 = = = 재료 = = =

넓적한 돌

 = =LOVE =

노래 모임이다.
"""


@pytest.mark.parametrize("name", ["kowikitext", "namuwikitext"])
def test_wikitext_articles_begin_with_their_title(tmp_path, name):
    path = tmp_path / "kowikitext_20200920.train"
    path.write_text(WIKITEXT)
    texts, defects = read(name, path)
    assert not defects
    bridge, group = (text.split("\n") for text in texts)
    assert [line for line in bridge if line] == [
        "징검다리",
        "징검다리는 돌을 띄엄띄엄 놓아 만든 다리이다.",
        "만드는 법",
        "물이 얕은 곳을 고른다.",
        "1 + 1 = 2 이듯 돌 하나에 한 걸음이다.",
        "재료",
        "넓적한 돌",
    ]
    assert group[0] == "=LOVE"
    path.write_text("제목이 없는 글\n" + WIKITEXT)
    assert read(name, path)[1] == [
        ("kowikitext_20200920.train:1", "before the first title ` = … =`")
    ]


# JSON


def test_jsonl_takes_a_field_or_a_path(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    lines = [{"text": "하나"}, {"text": "", "id": 3}, {"본문": ["둘", "셋"], "text": None}]
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    assert read("jsonl", path) == (["하나", ""], [("a.jsonl.gz:3", "no text at text")])
    assert read("jsonl", path, text="본문")[0] == ["둘\n셋"]
    with pytest.raises(InputError, match="not a JMESPath"):
        get_reader("jsonl")(text="a[")


def test_jsonl_counts_broken_and_endless_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    good = json.dumps({"text": "좋은 줄"}, ensure_ascii=False)
    lines = [good, "{" + good, good[:-2], '{"text": "' + "가" * 3000 + '"}', good, "[" * 9000, good]
    path.write_text("\n".join(lines))
    texts, defects = read("jsonl", path, max_bytes=9001)
    assert texts == ["좋은 줄"] * 3
    assert defects == [
        ("a.jsonl:2", "not JSON"),
        ("a.jsonl:3", "not JSON"),
        ("a.jsonl:4", "line over 9,001 bytes"),
        ("a.jsonl:6", "not JSON"),
    ]


def test_a_line_of_jsonl_in_another_encoding_counts_beside_good_ones(tmp_path):
    path = tmp_path / "a.jsonl"
    good = json.dumps({"text": "국경의 긴 터널을 빠져나왔다"}, ensure_ascii=False)
    path.write_bytes(b"\n".join(good.encode(each) for each in ("utf-8", "cp949", "utf-8")))
    texts, defects = read("jsonl", path)
    assert len(texts) == 2
    assert defects == [("a.jsonl:2", "not utf-8")]
    # Where nothing tells that the others are of UTF-8, all may be of CP949.
    path.write_bytes(b'{"text": "ascii"}\n' + good.encode("cp949"))
    with pytest.raises(InputError, match=r"a.jsonl:2: not UTF-8 but CP949"):
        read("jsonl", path)


@pytest.mark.parametrize("end", ["", "\n", '\n{"text": "좋다"}\n'])
def test_what_is_over_the_limit_counts_with_all_its_bytes(end, tmp_path):
    long = json.dumps([{"text": "가" * 2000}])
    for name in ("jsonl", "json"):
        path = tmp_path / f"a.{name}"
        path.write_text(long + end)
        first, *_ = get_reader(name)(max_bytes=1024).read(str(path))
        assert first.metadata["defect"].endswith("over 1,024 bytes")
        assert first.metadata["size"] == len(long) + len(end.encode()) * (name == "json")
        assert first.text == long[:1000]


def test_paths_that_miss_some_texts_leave_a_defect_beside_the_rest(tmp_path):
    records = [
        {"s": [{"form": "하나"}, {"form": None}, {}, {"form": "둘"}]},
        {"s": [{"form": None}]},
        {"other": 1},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    missing = "parts without text at s[].form"
    assert read("jsonl", path, text="s[].form") == (
        ["하나\n둘"],
        [("a.jsonl:1", missing), ("a.jsonl:2", missing), ("a.jsonl:3", "no text at s[].form")],
    )
    # Left out on purpose; and a path that has another way.
    assert read("jsonl", path, text="s[?form].form") == (
        ["하나\n둘", ""], [("a.jsonl:3", "no text at s[?form].form")],
    )  # fmt: skip
    assert read("jsonl", path, text="s[].form | [0]")[1] == [
        (f"a.jsonl:{line}", "no text at s[].form | [0]") for line in (2, 3)
    ]
    # A function may get what it does not take.
    assert read("jsonl", path, text="join(' ', s[].form)") == (
        ["하나 둘", ""], [("a.jsonl:3", "no text at join(' ', s[].form)")],
    )  # fmt: skip
    with pytest.raises(InputError, match=r"not a JMESPath .*: Unknown function: first"):
        read("jsonl", path, text="first(s)")


def test_integers_may_be_longer_than_those_of_python(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "좋은 줄", "id": ' + "9" * 5000 + "}")
    assert read("jsonl", path) == (["좋은 줄"], [])


NEWSPAPER = {
    "id": "NWRW1800000021",
    "metadata": {"title": "국립국어원 신문 말뭉치", "category": "신문"},
    "document": [
        {
            "id": "NWRW1800000021.1",
            "metadata": {"title": "들판 신문", "topic": "생활"},
            "paragraph": [
                {"id": "NWRW1800000021.1.1", "form": "마을 앞에 나무를 심었다"},
                {"id": "NWRW1800000021.1.2", "form": "나무는 모두 백 그루이다."},
            ],
        },
        {"id": "NWRW1800000021.2", "metadata": {}, "paragraph": []},
    ],
}
SPOKEN = {
    "id": "SDRW1900000001",
    "document": [
        {
            "id": "SDRW1900000001.1",
            "metadata": {"speaker": [{"id": "P1"}, {"id": "P2"}]},
            "utterance": [
                {"id": "u1", "form": "점심 먹었어?", "original_form": "점심 먹었어?",
                 "speaker_id": "P1"},
                {"id": "u2", "form": "아직.", "original_form": "어 아직.", "speaker_id": "P2"},
            ],
        }
    ],
}  # fmt: skip


def test_modu_joins_paragraphs_and_utterances(tmp_path):
    for name, content in (("NWRW1800000021", NEWSPAPER), ("SDRW1900000001", SPOKEN)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False, indent=1))
    texts, defects = read("modu", tmp_path / "*.json")
    assert texts == ["마을 앞에 나무를 심었다\n나무는 모두 백 그루이다.", "점심 먹었어?\n아직."]
    assert defects == [("NWRW1800000021.json, document 2", "no text at " + get_reader("modu").text)]
    heard, _ = read("modu", tmp_path / "SD*.json", text="utterance[].original_form")
    assert heard == ["점심 먹었어?\n어 아직."]


def test_aihub_files_are_read_by_path_also_from_a_zip(tmp_path):
    content = {"data": [{"paragraphs": [{"context": "강가에 집이 있다.", "qas": []}]}]}
    with zipfile.ZipFile(tmp_path / "라벨링데이터.zip", "w") as archive:
        archive.writestr("1.데이터/b.json", json.dumps(content).encode("utf-8-sig"))
        archive.writestr("1.데이터/a.json", '{"data":\n [}')
        archive.writestr("설명.txt", "읽어 보세요")
    options = {"documents": "data[]", "text": "paragraphs[].context"}
    texts, defects = read("aihub", tmp_path / "라벨링데이터.zip", **options)
    assert texts == ["강가에 집이 있다."]
    assert defects == [("라벨링데이터.zip/1.데이터/a.json:2", "not JSON")]
    assert read("aihub", tmp_path / "라벨링데이터.zip", text="문장")[1][1] == (
        "라벨링데이터.zip/1.데이터/b.json:1",
        "no documents at []",
    )


def test_a_file_may_hold_one_document(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"info": "x", "data": {"title": "집", "text": "강가에 집이 있다."}}))
    assert read("aihub", path, documents="data", text="text") == (["강가에 집이 있다."], [])


def test_archives_without_json_are_not_passed_over(tmp_path):
    with zipfile.ZipFile(tmp_path / "원천데이터.zip", "w") as archive:
        archive.writestr("신문.txt", "마을 앞에 나무를 심었다.")
    assert read("aihub", tmp_path / "원천데이터.zip") == (
        [],
        [("원천데이터.zip:1", "no .json in this archive")],
    )


def test_data_in_archives_that_is_no_json_is_not_passed_over(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("sample.json", '[{"text": "강가에 집이 있다."}]')
        archive.writestr("readme.txt", "읽어 보세요")
        archive.writestr("TS.ZIP", b"PK")
        archive.writestr("more.jsonl", '{"text": "강가에 집이 있다."}')
    assert read("aihub", tmp_path / "a.zip") == (
        ["강가에 집이 있다."],
        [
            (f"a.zip/{name}", "data in an archive that is not .json")
            for name in ("TS.ZIP", "more.jsonl")
        ],
    )


@pytest.mark.parametrize(
    ("documents", "missing"),
    [
        ("data[].paragraphs[]", 2),
        ("data[].paragraphs[].context", 3),
        ("data[*].paragraphs[*].context[]", 3),
        ("data[?paragraphs].paragraphs[].context", 1),
        ("data[?paragraphs[].context].paragraphs[].context", 1),
        ("by_name.*.context", 1),
    ],
)
def test_parts_that_are_missing_on_the_way_are_counted(tmp_path, documents, missing):
    a, b = {"context": {"text": "하나"}}, {"context": None}
    content = {
        "data": [{"paragraphs": [a, b]}, {"title": "x"}, {"paragraphs": None}, {"paragraphs": [a]}],
        "by_name": {"a": a, "b": b},
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    (counted,) = (
        document.metadata["detail"]
        for document in get_reader("json")(documents=documents).read(str(path))
        if document.metadata.get("defect") == f"parts without documents at {documents}"
    )
    assert counted == str(missing)


def test_documents_that_are_missing_are_counted(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": [{"body": {"text": "하나"}}, {}, None]}))
    assert read("json", path, documents="data[].body") == (
        ["하나"],
        [("a.json:1", "parts without documents at data[].body")],
    )


def test_what_is_no_json_counts_with_its_bytes_in_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "가나다\n \t\n\u3000\n'.encode("cp949"))
    found = list(get_reader("jsonl")(encoding="cp949").read(str(path)))
    assert [(each.id, each.metadata["size"]) for each in found] == [
        (f"{path}:1", 16), (f"{path}:3", 2),
    ]  # fmt: skip


# Tables


@pytest.mark.parametrize(
    ("delimiter", "head"), [("\t", "id,본문"), (",", "id\t본문"), ("\t", "id;본문")]
)
def test_a_table_with_another_delimiter_is_refused_with_that(tmp_path, delimiter, head):
    path = tmp_path / "a.csv"
    path.write_text(f"{head}\n1{head[2]}가나다\n")
    with pytest.raises(InputError, match=r"a.csv:1: only one column.*set `delimiter: ") as refused:
        read("table", path, column="본문", delimiter=delimiter)
    (remedy,) = re.findall("`(.*)`", str(refused.value))
    documents, _ = read("table", path, column="본문", **yaml.safe_load(remedy))
    assert documents == ["가나다"]


def test_a_quoted_name_is_no_reason_to_change_the_delimiter(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('"본문, 전체"\n가나다\n')
    with pytest.raises(InputError, match="no column '본문'"):
        read("table", path, column="본문", delimiter=",")


def test_tables_have_a_line_of_column_names(tmp_path):
    path = tmp_path / "ratings.txt"
    path.write_text('id\tdocument\tlabel\n1\t"정말" 좋다\t1\n2\t\t0\n3\t별로\n')
    assert read("table", path, column="document") == (
        ['"정말" 좋다', ""],
        [("ratings.txt:4", "row with another number of columns")],
    )
    with pytest.raises(InputError, match=r"ratings.txt:1: no column 'text' among id, document"):
        read("table", path)
    long = "비, 그리고 바람" * 20_000
    path.write_bytes(f'text,label\n"{long}",1\n비\r바람,2\n'.encode())
    assert read("table", path, delimiter=",") == ([long], [("ratings.txt:3", "not CSV")])
    # What one table leaves open does not reach into the next.
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", 'text,label\n"하나,1\n')
        archive.writestr("b.csv", "text,label\n둘,2\n")
    assert read("table", tmp_path / "two.zip", delimiter=",") == (
        ["둘"],
        [("two.zip/a.csv:2", "not CSV")],
    )
    # A row that is too long to be read at once, whose last part looks like a row.
    path.write_text("text\tlabel\n" + "강" * 500 + "\t1\n하나\t2\n")
    assert read("table", path, max_bytes=1024) == (
        ["하나"],
        [("ratings.txt:2", "line over 1,024 bytes")],
    )
    with pytest.raises(InputError, match="delimiter ', ': has to be one character"):
        get_reader("table")(delimiter=", ")


def test_cells_of_csv_may_have_line_breaks(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"첫 줄, ""하나""\n\n둘째 줄, 3",1\n하나,2\n')
    documents = list(get_reader("table")(delimiter=",").read(str(path)))
    assert [each.text for each in documents] == ['첫 줄, "하나"\n\n둘째 줄, 3', "하나"]
    assert [each.id for each in documents] == [f"{path}:2", f"{path}:5"]


@pytest.mark.parametrize("row", [
    '"화면이 55" 넓다",1', '"하나,1', '"하나"둘,1', '하나,"1',
])  # fmt: skip
def test_a_wrong_quote_costs_its_line_only(tmp_path, row):
    path = tmp_path / "a.csv"
    path.write_text(f"text,label\n{row}\n둘,2\n" + "셋,3\n" * 1000)
    found, defects = read("table", path, delimiter=",", max_bytes=1024)
    assert found == ["둘"] + ["셋"] * 1000
    assert defects == [("a.csv:2", "not CSV")]


@pytest.mark.parametrize("rows", [
    '"첫 줄\n둘째 줄 "인용" 셋째\n넷째 줄",1\n', '"하나\n\xff\n둘",1\n',
    '"' + "가" * 200 + "\n" + "나" * 200 + '",1\n',
    '"하나\n둘",1,2\n', '"하나,1\n둘,2\n셋,"\n',
])  # fmt: skip
def test_no_line_of_a_row_of_several_that_is_none_is_taken_for_one(tmp_path, rows):
    path, data = tmp_path / "a.csv", rows.encode().replace("\xff".encode(), b"\xff")
    path.write_bytes(b"text,label\n" + data + "끝,2\n".encode())
    *defects, last = get_reader("table")(delimiter=",", max_bytes=1024).read(str(path))
    assert last.text == "끝"
    # What is left out is counted, but for line ends.
    assert sum(each.metadata["size"] for each in defects) >= len(data) - data.count(b"\n")


def test_quotes_that_no_line_closes_take_linear_time(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + '하나","둘\n' * 20_000 + "셋,1\n")  # minutes if quadratic
    found, defects = read("table", path, delimiter=",")
    assert (found, len(defects)) == (["셋"], 20_000)


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"content": ["하나", None, ""], "n": [1, 2, 3]})
    parquet.write_table(table, path)
    assert read("parquet", path, column="content") == (
        ["하나", ""],
        [("a.parquet:2", "no text at content")],
    )
    damaged = pyarrow.array(["하나".encode(), b"\xff\xfe"], pyarrow.binary()).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"text": damaged}), tmp_path / "b.parquet")
    assert read("parquet", tmp_path / "b.parquet") == (["하나"], [("b.parquet:2", "not utf-8")])
    with pytest.raises(InputError, match="no column 'text' among content, n"):
        read("parquet", path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="expected a whole Parquet file"):
        read("parquet", path, column="content")


@pytest.mark.parametrize("streaming", [True, False])
def test_huggingface_data_sets_can_be_divided(tmp_path, streaming):
    folder = tmp_path / "data"
    folder.mkdir()
    texts = [f"{number}번째 문장" for number in range(7)]
    (folder / "train.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    assert read("huggingface", folder, streaming=streaming) == (texts, [])
    divided, _ = read("huggingface", folder, streaming=streaming, shards=3)
    assert sorted(divided) == texts
    with pytest.raises(InputError, match="no column 'content' among text"):
        read("huggingface", folder, streaming=streaming, column="content")
    with pytest.raises(InputError, match="cannot be read as a data set"):
        read("huggingface", tmp_path / "none")


def test_huggingface_reads_what_was_saved_to_disk(tmp_path):
    from datasets import Dataset, DatasetDict

    saved = Dataset.from_dict({"text": ["하나", "둘"]})
    saved.save_to_disk(tmp_path / "one")
    DatasetDict({"train": saved}).save_to_disk(tmp_path / "all")
    assert read("huggingface", tmp_path / "one")[0] == ["하나", "둘"]
    assert read("huggingface", tmp_path / "all", shards=2)[0] == ["하나", "둘"]


# All of them


def test_unknown_readers_are_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"'kowiki', did you mean 'kowikitext'\?"):
        get_reader("kowiki")


@pytest.mark.parametrize("name", READERS)
def test_every_reader_has_a_docstring_for_every_option(name):
    documented = set()
    for kind in READERS[name].__mro__[:-2]:
        body = ast.parse(inspect.getsource(kind)).body[0].body
        for statement, after in pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr):
                documented.add(statement.target.id)
    assert {option.name for option in fields(READERS[name])} == documented
