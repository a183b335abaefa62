"""Korean sentences that are put together by rule, and what shards are made of."""

import random
from collections.abc import Iterator
from pathlib import Path

SUBJECTS = (
    "할머니는",
    "아이들은",
    "우체부는",
    "고양이는",
    "선생님은",
    "이웃은",
    "농부는",
    "손님은",
)
PLACES = ("마당에서", "강가에서", "골목에서", "부엌에서", "언덕에서", "시장에서", "정류장에서")
OBJECTS = ("편지를", "노래를", "사과를", "이야기를", "그림자를", "빵을", "종소리를", "우산을")
VERBS = ("찾았다", "기다렸다", "나누었다", "바라보았다", "잊었다", "들었다", "남겼다", "모았다")


def sentences(seed: int) -> Iterator[str]:
    """Sentences without end."""
    choose = random.Random(seed).choice
    while True:
        number = choose(range(2, 99))
        yield f"{choose(SUBJECTS)} {choose(PLACES)} {number}번째 {choose(OBJECTS)} {choose(VERBS)}."


def texts(seed: int, count: int, length: int = 6) -> list[str]:
    """Documents of so many sentences each."""
    endless = sentences(seed)
    return [" ".join(next(endless) for _ in range(length)) for _ in range(count)]


def shard_files(folder: Path) -> dict[str, bytes]:
    """The files of all shards by their way below the corpus."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for split in ("train", "validation")
        for path in sorted((folder / split).rglob("*"))
        if path.is_file()
    }
