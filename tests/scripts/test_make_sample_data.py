"""The shipped sample data: reproducible, well formed, and as hard as it claims to be."""

import importlib.util
import os
import re
import subprocess
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "make_sample_data.py"
SHIPPED = ROOT / "src" / "kebyt5" / "assets" / "sample_ner"
MARK = re.compile(r"<([^<>]+):(PS|LC|OG|DT|TI|QT)>")

spec = importlib.util.spec_from_file_location("make_sample_data", SCRIPT)
make_sample_data = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = make_sample_data
spec.loader.exec_module(make_sample_data)


def read(split: str) -> list[tuple[str, list[str], list[str]]]:
    """Return (marked sentence, characters, tags) of each sentence, read without the script."""
    blocks = (SHIPPED / f"{split}.tsv").read_text(encoding="utf-8").split("\n\n")
    header, blocks[0] = blocks[0].rsplit("\n## ", 1)
    assert header.count("\n") == 4
    assert blocks.pop() == ""
    sentences = []
    for block in blocks:
        comment, *rows = block.split("\n")
        characters, tags = zip(*(row.split("\t") for row in rows), strict=True)
        sentences.append((comment.split("\t")[1], list(characters), list(tags)))
    return sentences


DATA = {split: read(split) for split in ("train", "dev")}
PLAIN = {split: ["".join(chars) for _, chars, _ in rows] for split, rows in DATA.items()}
MENTIONS = {
    split: [match[1] for marked, *_ in rows for match in MARK.finditer(marked)]
    for split, rows in DATA.items()
}


def test_regenerates_the_shipped_bytes(tmp_path):
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, SCRIPT, tmp_path, "--seed", "0"], check=True, env=environment)
    for split in DATA:
        name = f"{split}.tsv"
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()


@pytest.mark.parametrize("split", ["train", "dev"])
def test_rows_are_iob2_and_say_what_the_marks_say(split):
    for marked, characters, tags in DATA[split]:
        for before, tag in pairwise(["O", *tags]):
            assert not tag.startswith("I-") or before[2:] == tag[2:]
        joined = "".join(
            (f"\0{character}" if tag.startswith("B-") else character)
            for character, tag in zip(characters, tags, strict=True)
        )
        assert joined == MARK.sub(lambda match: "\0" + match[1], marked)
        rebuilt = [tag[2:] for tag in tags if tag.startswith("B-")]
        assert rebuilt == [match[2] for match in MARK.finditer(marked)]
        assert tags.count("O") == len(MARK.sub("", marked))


def test_sizes():
    assert len(PLAIN["train"]) == len(set(PLAIN["train"])) >= 2000
    assert len(PLAIN["dev"]) == len(set(PLAIN["dev"])) == 300
    assert max(map(len, PLAIN["train"] + PLAIN["dev"])) <= 80
    assert sum((SHIPPED / f"{split}.tsv").stat().st_size for split in DATA) < 3_500_000
    for split in DATA:
        without = sum(not MARK.search(marked) for marked, *_ in DATA[split]) / len(DATA[split])
        assert 0.05 < without < 0.2


def test_held_out_templates_and_sentences_are_new():
    train, dev = (make_sample_data.Generator(split, seed=0) for split in ("train", "dev"))

    def templates(generator):
        lines = generator.templates + generator.word_templates
        return {line.text for line in lines} | set(generator.frames)

    assert not templates(train) & templates(dev)
    assert len({line.text for line in train.templates}) >= 200
    assert len({line.text for line in dev.templates}) >= 50
    # Nor do different templates give the same sentence around the entities.
    around = {split: {MARK.sub(r"<\2>", row[0]) for row in rows} for split, rows in DATA.items()}
    assert not around["train"] & around["dev"]


def test_most_held_out_entities_are_new():
    seen = set(MENTIONS["train"])
    by_tag: dict[str, list[bool]] = {}
    for marked, *_ in DATA["dev"]:
        for match in MARK.finditer(marked):
            by_tag.setdefault(match[2], []).append(match[1] not in seen)
    assert len(by_tag) == 6
    for news in by_tag.values():
        assert sum(news) / len(news) >= 0.5


def test_distractors_change_sides():
    entries = make_sample_data.read_ambiguous(make_sample_data.SOURCES / "ambiguous.txt")
    names = {entry.surface: entry for entry in entries if entry.tag}
    surfaces = "|".join(sorted((entry.surface for entry in entries), key=len, reverse=True))
    as_word = re.compile(rf"(?<![가-힣])(?:{surfaces})")
    main_sense = {}
    for split, rows in DATA.items():
        distracting = agreeing = total = 0
        for marked, *_ in rows:
            words = as_word.findall(MARK.sub("|", marked))
            as_names = [match[1] for match in MARK.finditer(marked) if match[1] in names]
            distracting += bool(words or as_names)
            agreeing += sum(names[surface].mainly_name for surface in as_names)
            agreeing += sum(word in names and not names[word].mainly_name for word in words)
            total += len(as_names) + sum(word in names for word in words)
        assert distracting / len(rows) >= 0.15
        main_sense[split] = agreeing / total
    assert main_sense["train"] > 0.75
    assert main_sense["dev"] < 0.45


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("<민준:PS>은/는", "<민준:PS>은"),
        ("<지수:PS>은/는", "<지수:PS>는"),
        ("<민준:PS>이/_가 <지수:PS>이/_를", "<민준:PS>이가 <지수:PS>를"),
        ("<민준:PS>아/야 <지수:PS>아/야", "<민준:PS>아 <지수:PS>야"),
        (
            "<서울:LC>으로/로 <부산:LC>으로/로 <대구:LC>으로/로",
            "<서울:LC>로 <부산:LC>으로 <대구:LC>로",
        ),
        ("<서울:LC>을/를 <서울:LC>과/와", "<서울:LC>을 <서울:LC>과"),
        ("'거울'이라는/라는 '지도'이라는/라는", "'거울'이라는 '지도'라는"),
        ("김밥이나/나 국수이나/나 아이이나/나", "김밥이나 국수나 아이나"),
        ("열 살이에요/예요 영희이에요/예요", "열 살이에요 영희예요"),
        ("봄이었/였다 겨울비이었/였다", "봄이었다 겨울비였다"),
        ("3은/는 2은/는 1으로/로 7으로/로 6으로/로 10으로/로", "3은 2는 1로 7로 6으로 10으로"),
        ("2-0으로/로 100이/가 5.4이/가", "2-0으로 100이 5.4가"),
        ("5km은/는 3kg은/는 20%이/가 2L을/를 18℃으로/로", "5km는 3kg은 20%가 2L를 18℃로"),
        ("KT은/는 SM은/는 LG으로/로 XL으로/로 BR이/가 FC과/와", "KT는 SM은 LG로 XL로 BR이 FC와"),
    ],
)
def test_particles_agree_with_the_sound_before_them(template, expected):
    assert make_sample_data.agree(template) == expected


@pytest.mark.parametrize("split", ["train", "dev"])
def test_every_shipped_particle_agrees(split):
    after_consonant = {"은": True, "을": True, "과": True, "는": False, "를": False, "와": False}
    checked = 0
    for marked, *_ in DATA[split]:
        assert not re.search(r"[가-힣]/[가-힣_]|[{}\[\]]", marked)
        for last, particle in re.findall(r"([가-힣]):[A-Z]{2}>([은는을를과와])(?= )", marked):
            # A syllable with a final consonant has three letters when decomposed.
            assert (len(unicodedata.normalize("NFD", last)) == 3) == after_consonant[particle]
            checked += 1
    assert checked > 50
