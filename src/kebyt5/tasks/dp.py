"""Dependency parsing (KLUE-DP): the model writes the head and label of each word in order."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from kebyt5.errors import InputError
from kebyt5.tasks.dp_guess import guess_arcs
from kebyt5.tasks.files import NAME_COMMENT, read_lines, read_parquet
from kebyt5.tasks.forms import Parts
from kebyt5.tasks.metrics.classification import LabelScore
from kebyt5.tasks.metrics.dp import LABELS, MISSING, Arc, arc_label_scores, scores
from kebyt5.tasks.task import Example, Parsed, Task

_SEPARATOR = "▁"
# The published evaluation recognizes the line by five characters and removes eight.
_LINE = re.compile(r"^depre.{0,3}(.*)", re.MULTILINE)
_LINE_ANYWHERE = re.compile(r"depre.{0,3}(.*)")
# The part before the head is ignored: in published outputs it is the number of the word, with or
# without its length, or the word itself. The number of digits is one that Python can convert.
_ENTRY = re.compile(r"\(.+?, ([0-9]{1,1000}), ([A-Z_]+)\)")
_NUMBER = re.compile("[0-9]{1,4}")
_ROW = "'index<TAB>word<TAB>lemmas<TAB>tags<TAB>head<TAB>label'"
_WORD = "'word<TAB>lemmas<TAB>tags'"
_COLUMNS = ("index", "word_form", "lemma", "pos", "head", "deprel")

Row = tuple[str, str, str, str, str, str]


class DP(Task):
    """KLUE-DP: gold and answers have one `Arc` per word.

    The input field `words` has a line `word<TAB>lemmas<TAB>tags` for each word: the lemmas of its
    morphemes separated by blanks, their tags separated by +.
    """

    name: ClassVar[str] = "dp"
    title: ClassVar[str] = "Dependency parsing (KLUE-DP)"
    formats: ClassVar[str] = "KLUE-DP tsv, parquet"
    input_fields: ClassVar[tuple[str, ...]] = ("sentence", "words")
    main_score: ClassVar[str] = "las_macro_f1"
    max_input_bytes: ClassVar[int] = 6144

    def read(self, path: str | Path) -> list[Example]:
        """Reads a KLUE-DP tsv, or the `.parquet` table on the hub.

        In a tsv, blank lines separate sentences, and lines that begin with `##` are comments; the
        comment `## name<TAB>sentence` gives the name and text of the sentence below it. Without
        it, the text is the words joined by blanks.
        """
        parquet = Path(path).suffix.lower() == ".parquet"
        examples = list(_read_parquet(path) if parquet else _read_table(path))
        if not examples:
            raise InputError(f"{path}:1: no sentence here; expected rows {_ROW}")
        return examples

    def input_text(self, example: Example) -> str:
        """Returns the sentence and its morphemes in the published prompt."""
        rows = (
            f"{number}/{word}/{len(word)}/{lemmas}/{tags}/{_first_and_last(lemmas, tags)}\n"
            for number, (word, lemmas, tags) in enumerate(_words(example), 1)
        )
        sentence = example.inputs["sentence"]
        return f"task: Dependency Parsing\n\nInput: {sentence}\nLemmas: {''.join(rows)}"

    def target_text(self, example: Example) -> str:
        """Returns the arcs of all words, each with the number and the length of its word."""
        return "".join(_pieces(_words(example), self.gold(example)))

    def parse(self, text: str, example: Example) -> Parsed:
        """Reads one arc for each word of the sentence, as the published evaluation does.

        Entries are assigned to words in order, whatever number they contain. Arcs that are absent
        or cannot be read are `MISSING`; surplus entries are ignored.
        """
        length = _count(example)
        line = _LINE.search(text) or _LINE_ANYWHERE.search(text)
        entries = (line[1] if line else text).split(_SEPARATOR)
        arcs = [_arc(entry) for entry in entries[:length]]
        missing = [MISSING] * (length - len(arcs))
        if not text.strip():
            reason = "empty"
        elif not line:
            reason = "no line of arcs"
        elif missing:
            reason = "too few arcs"
        elif len(entries) > length:
            reason = "too many arcs"
        elif MISSING in arcs:
            reason = "unreadable arc"
        else:
            unknown = any(arc.label not in LABELS for arc in arcs)
            return Parsed(tuple(arcs), "unknown label" if unknown else None)
        return Parsed((*arcs, *missing), reason)

    def score_values(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Computes the scores of `metrics.dp.scores`."""
        return scores([self.gold(example) for example in examples], values)

    def label_scores(
        self, examples: Sequence[Example], generated_texts: Sequence[str]
    ) -> list[LabelScore]:
        """Scores each of the label classes that the official metric distinguishes."""
        parsed = [self.parse(t, e).value for e, t in zip(examples, generated_texts, strict=True)]
        return arc_label_scores([self.gold(example) for example in examples], parsed)

    def split_texts(self, lines: Sequence[str], count: int) -> list[str]:
        r"""Extracts the texts from the lines of a plain predictions file: the lines with arcs.

        In published files a text may also have a line of lemmas above the arcs or of word counts
        below them, or a literal `\n` between them. If the number of lines with arcs is not
        `count`, each line other than word counts is a text.
        """
        lines = [line.replace("\\n", "\n") for line in lines]
        with_arcs = [line for line in lines if _LINE_ANYWHERE.search(line)]
        if len(with_arcs) == count:
            return with_arcs
        texts = [line for line in lines if not line.lstrip().startswith("word_count")]
        while len(texts) > count and not texts[-1].strip():
            texts.pop()
        return texts

    def damage(self, example: Example, noise: Callable[[str], str]) -> Example:
        """Damages the words, equally in the sentence and in its rows; their analysis stays."""
        sentence = example.inputs["sentence"]
        rows = _words(example)
        damaged = [noise(word).replace(" ", "") or word for word, *_ in rows]
        if sentence.split(" ") == [word for word, *_ in rows]:
            sentence = " ".join(damaged)
        words = "\n".join(
            "\t".join([word, *rest]) for word, (_, *rest) in zip(damaged, rows, strict=True)
        )
        return replace(example, inputs={"sentence": sentence, "words": words})

    def max_target_bytes(self, example: Example) -> int:
        """Returns the length of the longest possible entries, and of the text around them."""
        words = [word for word, *_ in _words(example)]
        digits = len(str(len(words)))
        label = max(map(len, LABELS))
        entry = len("(/, , )") + 2 * digits + label + len(_SEPARATOR.encode())
        around = len("deprel: \nword_counts: ") + digits
        return around + sum(entry + len(str(len(word))) for word in words)

    def form(self, example: Example) -> Parts:
        """Allows an arc for each word, to any word or the root, with one of the labels."""
        words = _words(example)
        guess = _pieces(words, guess_arcs([tags for _, _, tags in words]))
        parts: list[tuple[str, ...]] = [(piece,) for piece in guess]
        parts[2:-1:3] = [tuple(f"{head}, " for head in range(len(words) + 1))] * len(words)
        parts[3:-1:3] = [tuple(f"{label})" for label in LABELS)] * len(words)
        return Parts(tuple(parts), tuple(guess))

    def to_json(self, parsed: Parsed, example: Example) -> list[dict[str, Any]]:
        """Returns the words with their heads and labels.

        Both are null for an arc that could not be read; a head that is not one of the words is
        null as well.
        """
        words = _words(example)
        return [
            {"word": word, "head": None, "label": None}
            if arc == MISSING
            else {
                "word": word,
                "head": arc.head if arc.head <= len(words) else None,
                "label": arc.label,
            }
            for (word, *_), arc in zip(words, parsed.value, strict=True)
        ]

    def show(self, parsed: Parsed, example: Example) -> str:
        """Returns a line `word → head (label)` for each word."""
        words = [word for word, *_ in _words(example)]
        heads = {0: "ROOT", MISSING.head: "?", **dict(enumerate(words, 1))}
        return "\n".join(
            f"{word} → {heads.get(head, head)} ({label})"
            for word, (head, label) in zip(words, parsed.value, strict=True)
        )


def _pieces(words: Sequence[Sequence[str]], arcs: Sequence[Arc]) -> list[str]:
    """Splits a target into pieces: for each word the known part, the head, and the label."""
    pieces = ["deprel: "]
    for number, ((word, *_), (head, label)) in enumerate(zip(words, arcs, strict=True), 1):
        between = _SEPARATOR if number > 1 else ""
        pieces += [f"{between}({number}/{len(word)}, ", f"{head}, ", f"{label})"]
    return [*pieces, f"\nword_counts: {len(words)}"]


def _words(example: Example) -> list[list[str]]:
    words = [line.split("\t") for line in example.inputs["words"].split("\n") if line]
    for number, word in enumerate(words, 1):
        if len(word) != 3:
            problem = f"line {number} of the field 'words' has {len(word)} columns"
            raise InputError(f"{example.place or 'input'}: {problem}; expected {_WORD}")
    return words


def _count(example: Example) -> int:
    return sum(1 for line in example.inputs["words"].split("\n") if line)


def _first_and_last(lemmas: str, tags: str) -> str:
    # Tags, not lemmas, decide whether a word has several morphemes: a few published rows lack some.
    lemma, tag = lemmas.split(" "), tags.split("+")
    return f"{lemma[0]}:{tag[0]}/" + (f"{lemma[-1]}:{tag[-1]}" if len(tag) > 1 else "NONE")


def _arc(entry: str) -> Arc:
    match = _ENTRY.match(entry)
    return Arc(int(match[1]), match[2]) if match else MISSING


def _read_table(path: str | Path) -> Iterator[Example]:
    lines = read_lines(path)
    for blank, block in groupby(lines, key=lambda line: not line[1].strip()):
        if not blank and (example := _read_block(path, list(block), len(lines))):
            yield example


def _read_block(path: str | Path, block: list[tuple[int, str]], lines: int) -> Example | None:
    """Reads the lines between two blank ones; None if they are only comments."""
    name, sentence, rows, places = None, None, [], []
    for number, line in block:
        place = f"{path}:{number}"
        if not line.startswith("##"):
            rows.append(_read_row(line, place))
            places.append(place)
        elif rows:
            problem = "comment inside a sentence; expected a blank line first"
            raise InputError(f"{place}: {problem}")
        elif match := NAME_COMMENT.fullmatch(line):
            name, sentence = match.groups()
    if not rows:
        return None
    # A file cut off between two rows looks well-formed; only the comment has the whole text.
    words = " ".join(word for _, word, *_ in rows)
    if number >= lines - 1 and sentence and _is_cut(words, sentence):
        raise InputError(f"{place}: the file ends here; expected the rest of {sentence!r}")
    first = block[len(block) - len(rows)][0]
    sentence = words if sentence is None else sentence
    return _example(name or str(first), sentence, rows, places)


def _is_cut(words: str, sentence: str) -> bool:
    return len(words) < len(sentence) and sentence.startswith(words)


def _read_row(line: str, place: str) -> Row:
    try:
        index, word, lemmas, tags, head, label = line.split("\t")
    except ValueError as error:
        columns = line.count("\t") + 1
        raise InputError(f"{place}: {columns} column(s); expected 6: {_ROW}") from error
    return index, word, lemmas, tags, head, label


def _read_parquet(path: str | Path) -> Iterator[Example]:
    for place, record in enumerate(read_parquet(path), 1):
        try:
            columns = [[str(value) for value in record[column]] for column in _COLUMNS]
            rows = list(zip(*columns, strict=True))
            sentence = record["sentence"]
            if not rows or not isinstance(sentence, str):
                raise ValueError("no words, or no sentence")
        except (KeyError, TypeError, ValueError) as error:
            expected = f"expected lists {', '.join(_COLUMNS)} of one length, and sentence"
            raise InputError(f"{path}:{place}: not the columns of KLUE-DP; {expected}") from error
        places = [f"{path}:{place}"] * len(rows)
        yield _example(record.get("guid") or str(place), sentence, rows, places)


def _example(name: str, sentence: str, rows: Sequence[Row], places: Sequence[str]) -> Example:
    """Makes an example of a sentence; `places` says where each row is."""
    gold = []
    for number, (row, place) in enumerate(zip(rows, places, strict=True), 1):
        index, word, _, _, head, label = row
        if index != str(number):
            problem = f"index {index[:20]!r}; expected {number}"
        elif not word:
            problem = f"the word is empty; expected {_ROW}"
        elif not (_NUMBER.fullmatch(head) and int(head) <= len(rows)):
            problem = f"head {head[:20]!r}; expected a number from 0 to {len(rows)}, the last word"
        elif label not in LABELS:
            problem = f"unknown label {label[:20]!r}; expected one of {' '.join(LABELS)}"
        else:
            gold.append(Arc(int(head), label))
            continue
        raise InputError(f"{place}: {problem}")
    words = "\n".join("\t".join(row[1:4]) for row in rows)
    return Example(name, {"sentence": sentence, "words": words}, tuple(gold), places[0])


__all__ = ["DP"]
