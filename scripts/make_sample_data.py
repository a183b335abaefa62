"""Write the sample NER data that the package ships, in the tsv format of KLUE NER.

    python scripts/make_sample_data.py src/kebyt5/assets/sample_ner --seed 0

The sentences come from hand-written files beside this script, in `sample_data/`:

- `grammar.txt`: what may fill a slot. `name: a b c` lists words, `name = x y | 2* {z}w` lists
  alternatives with optional weights; `{a-b}` is a whole number. A rule whose name starts with an
  entity type (`LC.city`) gives an entity of that type when a template uses it.
- `train.txt`, `dev.txt`: templates under `= register` headings. `{rule}` is a slot, `[a|b|]` a
  free choice, `은/는` a particle that agrees with what stands before it (`이/_`: 이 or nothing).
- `ambiguous.txt`: strings that are a name in one sentence and an ordinary word in another.

The same seed gives the same bytes on every Python version.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).with_name("sample_data")
TAGS = ("PS", "LC", "OG", "DT", "TI", "QT")
SIZES = {"train": 4000, "dev": 300}
MAX_CHARACTERS = 80
MAX_REDRAWS = 30

# How often a sentence is one that shows an ambiguous string in its ordinary sense.
WORD_SENSE_SHARE = {"train": 0.15, "dev": 0.20}
# How often a held-out slot insists on a string that training does not have; else it reuses one.
NOVEL_SHARE = 0.8
# How often a word-sense sentence without an entity is put into a frame that has one.
FRAMED_SHARE = 0.7
# An ambiguous string shows its main sense this many times as often as the other one.
MAIN_SENSE_WEIGHT = 6

HEADER = (
    "## 토큰, 레이블 구분자 : \\t\n## 토큰 구분자 : \\n\n## 문장 구분자 : \\n\\n\n"
    "## 주석 : ##\n## 컬럼명 : CHAR\tNE_TAG\n"
)

Known = dict[str, list[str]]

_SLOT = re.compile(r"\{([^{}]+)\}")
_ENTITY_SLOT = re.compile(rf"\{{({'|'.join(TAGS)})\b")
_RANGE = re.compile(r"(\d+)-(\d+)")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_MARK = re.compile(rf"<([^<>]+):({'|'.join(TAGS)})>")
# Besides the irregular pairs, those that only add 이 or 으 after a consonant: 이나/나, 으로/로.
_PARTICLE = re.compile(
    r"은/는|이/가|을/를|과/와|아/야|이에요/예요|이었/였|이/_|[이으]([가-힣]+)/\1"
)

# The last sound of what is not written in Hangul: units after a number, then letters and signs.
_UNIT_FINALS = {"kg": "ㅁ", "mg": "ㅁ", "g": "ㅁ", "t": "ㄴ"} | dict.fromkeys(
    ("km", "cm", "mm", "m", "ml", "L", "GB", "MB"), ""
)
_SIGN_FINALS = dict(zip("0123456789", "ㅇㄹ ㅁ  ㄱㄹㄹ ", strict=True)) | {"L": "ㄹ", "R": "ㄹ"}
_SIGN_FINALS |= {"M": "ㅁ", "N": "ㄴ"}


def final_sound(text: str) -> str:
    """Return the final consonant with which `text` ends when read aloud.

    Args:
        text: what stands before a particle; closing quotation marks and brackets are not read.

    Returns:
        "ㄹ", another consonant (any other letter stands for "not ㄹ"), or "" after a vowel.
    """
    text = text.rstrip("'\"’”)」》 ")
    if not text:
        return ""
    if "가" <= text[-1] <= "힣":
        final = (ord(text[-1]) - ord("가")) % 28
        return {0: "", 8: "ㄹ"}.get(final, "ㄱ")
    unit = re.search(r"\d\s?([A-Za-z]+)$", text)
    if unit and unit[1] in _UNIT_FINALS:
        return _UNIT_FINALS[unit[1]]
    return _SIGN_FINALS.get(text[-1], "").strip()


def agree(text: str) -> str:
    """Replace each particle pair such as `은/는` by the form that the text before it asks for."""

    def chosen(match: re.Match[str]) -> str:
        after_consonant, after_vowel = match[0].split("/")
        before = _MARK.sub(r"\1", match.string[: match.start()])
        final = final_sound(before)
        if final == "ㄹ" and after_consonant.startswith("으"):
            final = ""
        return after_consonant if final else after_vowel.replace("_", "")

    return _PARTICLE.sub(chosen, text)


class Dice:
    """A seeded source of choices.

    Only `random()` is used: unlike `choice` and `shuffle`, Python promises its sequence.
    """

    def __init__(self, seed: str) -> None:
        self.roll = random.Random(seed).random

    def pick(self, items: Sequence[str]) -> str:
        """Return one of `items`, each as likely as the others."""
        return items[int(self.roll() * len(items))]

    def between(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both included."""
        return low + int(self.roll() * (high - low + 1))


@dataclass(frozen=True)
class Line:
    """A template, or a sentence made from one, and the register it belongs to."""

    register: str
    text: str


@dataclass(frozen=True)
class Ambiguous:
    """A string that is both a name and an ordinary word.

    Attributes:
        surface: the string.
        tag: its entity type, or "" for idioms that merely look like one (numerals, say).
        mainly_name: whether training mostly shows it as a name; the held-out split then mostly
            shows it as a word, and the other way round.
        sentences: templates that use it as an ordinary word.
    """

    surface: str
    tag: str
    mainly_name: bool
    sentences: tuple[str, ...]

    def word_sentences(self, split: str) -> tuple[str, ...]:
        """Return the word-sense templates of a split; the two splits share none."""
        for_train = 1 if self.mainly_name else len(self.sentences) - 1
        return self.sentences[:for_train] if split == "train" else self.sentences[for_train:]

    def weight(self, split: str, as_name: bool) -> int:
        """Return how often a split shows the string in one of its senses."""
        main = self.mainly_name == as_name
        return MAIN_SENSE_WEIGHT if main == (split == "train") else 1


def _lines(path: Path) -> list[str]:
    """Read a file without its comments; an indented line continues the one before it."""
    text = re.sub(r"\n[ \t]+", " ", path.read_text(encoding="utf-8"))
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def read_grammar(path: Path) -> dict[str, list[str]]:
    """Read the slot rules; an alternative with weight n is listed n times."""
    rules: dict[str, list[str]] = {}
    for line in _lines(path):
        match = re.match(r"(\S+?)(:| =)\s+(.*)", line)
        if match is None or match[1] in rules:
            raise ValueError(f"{path.name}: not a new rule: {line}")
        items: list[str] = []
        for item in match[3].split() if match[2] == ":" else match[3].split("|"):
            weighted = re.fullmatch(r"(\d+)\*\s*(.*)", item.strip())
            items += [weighted[2]] * int(weighted[1]) if weighted else [item.strip()]
        rules[match[1]] = items
    return rules


def read_templates(path: Path) -> list[Line]:
    """Read the templates of a split."""
    templates, register = [], "general"
    for line in _lines(path):
        if line.startswith("= "):
            register = line[2:]
        else:
            templates.append(Line(register, line))
    return templates


def read_ambiguous(path: Path) -> list[Ambiguous]:
    """Read lines of the form `surface TAG+ | sentence | sentence` (see the head of the file)."""
    entries = []
    for line in _lines(path):
        head, *sentences = [part.strip() for part in line.split(" | ")]
        surface, kind = head.split()
        if len(sentences) < 2 or any(surface not in sentence for sentence in sentences):
            raise ValueError(f"{path.name}: two sentences with {surface} are needed: {line}")
        entries.append(Ambiguous(surface, kind[:-1], kind[-1] == "+", tuple(sentences)))
    return entries


class Generator:
    """Generates the marked sentences of one split."""

    def __init__(self, split: str, seed: int, sources: Path = SOURCES) -> None:
        self.split = split
        self.dice = Dice(f"{split}-{seed}")
        self.rules = read_grammar(sources / "grammar.txt")
        self.not_names = set(self.rules.pop("not_names"))
        templates = read_templates(sources / f"{split}.txt")
        self.frames = [template.text for template in templates if "{sentence}" in template.text]
        self.templates = [template for template in templates if "{sentence}" not in template.text]
        self.used: dict[str, list[str]] = {}
        self.word_templates: list[Line] = []
        self.mainly_words: set[str] = set()
        for entry in read_ambiguous(sources / "ambiguous.txt"):
            # A composed name that is an ambiguous string would upset its ratio of senses.
            self.not_names.add(entry.surface)
            names = [entry.surface] * entry.weight(split, as_name=True)
            self.rules.setdefault(f"amb.{entry.tag}", []).extend(names)
            words = [Line("words", text) for text in entry.word_sentences(split)]
            self.word_templates += words * entry.weight(split, as_name=False)
            if not entry.mainly_name:
                self.mainly_words.add(entry.surface)

    def sentences(self, count: int, known: Known | None = None) -> Iterator[Line]:
        """Yield distinct sentences with `<entity:TAG>` marks.

        Args:
            count: how many.
            known: what filled each slot in training; most slots here get something else. A string
                that training shows mainly as a word counts as something else.
        """
        known = known or {}
        seen = {surface for surfaces in known.values() for surface in surfaces}
        seen -= self.mainly_words
        done: set[str] = set()
        while len(done) < count:
            word_sense = self.dice.roll() < WORD_SENSE_SHARE[self.split]
            pool = self.word_templates if word_sense else self.templates
            template = pool[self.dice.between(0, len(pool) - 1)]
            text = template.text
            if word_sense and not _ENTITY_SLOT.search(text) and self.dice.roll() < FRAMED_SHARE:
                text = self.dice.pick(self.frames).replace("{sentence}", text)
            marked = agree(self._fill(text, known, seen))
            plain = _MARK.sub(r"\1", marked)
            entities = [match[1] for match in _MARK.finditer(marked)]
            if (
                plain not in done
                and len(plain) <= MAX_CHARACTERS
                and len(set(entities)) == len(entities)
            ):
                done.add(plain)
                yield Line(template.register, marked)

    def _fill(self, template: str, known: Known, seen: set[str]) -> str:
        """Replace the slots of a template, marking those that are entities."""

        def filled(match: re.Match[str]) -> str:
            name = match[1]
            if name[:2] not in TAGS:
                return self._expand(match[0])
            if name in known and self.dice.roll() >= NOVEL_SHARE:
                surface = self.dice.pick(known[name])
            else:
                surface = self._expand(match[0])
                # Small rules, such as the parts of a day, may have nothing new to offer.
                for _ in range(MAX_REDRAWS):
                    if surface not in seen:
                        break
                    surface = self._expand(match[0])
            self.used.setdefault(name, []).append(surface)
            return f"<{surface}:{name[:2]}>"

        chosen = _CHOICE.sub(lambda match: self.dice.pick(match[1].split("|")), template)
        return re.sub(r" +", " ", _SLOT.sub(filled, chosen)).strip()

    def _expand(self, text: str) -> str:
        """Expand all slots of `text`, drawing given names again that read as words."""

        def drawn(match: re.Match[str]) -> str:
            if numbers := _RANGE.fullmatch(match[1]):
                return str(self.dice.between(int(numbers[1]), int(numbers[2])))
            item = self._expand(self.dice.pick(self.rules[match[1]]))
            while match[1] == "given" and item in self.not_names:
                item = self._expand(self.dice.pick(self.rules[match[1]]))
            return item

        return _SLOT.sub(drawn, text)


def to_rows(marked: str) -> Iterator[tuple[str, str]]:
    """Yield the characters of a marked sentence with their IOB2 tags."""
    position = 0
    for match in _MARK.finditer(marked):
        yield from ((character, "O") for character in marked[position : match.start()])
        for index, character in enumerate(match[1]):
            yield character, f"{'I' if index else 'B'}-{match[2]}"
        position = match.end()
    yield from ((character, "O") for character in marked[position:])


def entity_surfaces(sentences: Iterable[Line]) -> list[str]:
    """Return the strings of all entity mentions."""
    return [match[1] for sentence in sentences for match in _MARK.finditer(sentence.text)]


def make(seed: int, sizes: dict[str, int] = SIZES) -> dict[str, list[Line]]:
    """Generate both splits; none of the held-out sentences occurs in training."""
    generator = Generator("train", seed)
    train = list(generator.sentences(sizes["train"]))
    dev = Generator("dev", seed).sentences(sizes["dev"], generator.used)
    return {"train": train, "dev": list(dev)}


def to_tsv(sentences: Iterable[Line], split: str) -> str:
    """Format sentences as a KLUE NER file."""
    parts = [HEADER]
    for number, sentence in enumerate(sentences):
        guid = f"kebyt5-ner-v1_{split}_{number:05d}-{sentence.register}"
        rows = "".join(f"{character}\t{tag}\n" for character, tag in to_rows(sentence.text))
        parts.append(f"## {guid}\t{sentence.text}\n{rows}\n")
    return "".join(parts)


def main() -> None:
    """Write `train.tsv` and `dev.tsv`."""
    parser = argparse.ArgumentParser(description="Write the sample NER data.")
    parser.add_argument("out", type=Path, help="folder for train.tsv and dev.tsv")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for split, sentences in make(arguments.seed).items():
        path = arguments.out / f"{split}.tsv"
        path.write_text(to_tsv(sentences, split), encoding="utf-8", newline="\n")
        print(f"{path}: {len(sentences)} sentences, {len(entity_surfaces(sentences))} entities")


if __name__ == "__main__":
    main()
