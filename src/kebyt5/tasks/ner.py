"""Named entities (KLUE-NER): the model copies the sentence and marks the entities in it.

A marked entity reads `<entity:TAG>`. Since sentences may themselves contain `<` and `:`, a
generated text is always read against its sentence, never by itself.
"""

import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from rapidfuzz.distance import LCSseq

from kebyt5.errors import InputError
from kebyt5.models.offsets import byte_length, truncate
from kebyt5.tasks.files import NAME_COMMENT, read_lines, read_parquet
from kebyt5.tasks.forms import Marked
from kebyt5.tasks.metrics.classification import LabelScore
from kebyt5.tasks.metrics.ner import (
    TAGS,
    TYPES,
    Entity,
    entities,
    entity_type_scores,
    scores,
    to_tags,
    without_blanks,
)
from kebyt5.tasks.ner_lexicon import Lexicon
from kebyt5.tasks.task import Example, Parsed, Task

_OPEN = re.compile("<")
_CLOSE = re.compile(rf":({'|'.join(TYPES)})>")
_MARK = re.compile(rf"{_OPEN.pattern}+|{_CLOSE.pattern}")
_RUN = re.compile(r"ㅋㅋ+|;;+")
_UNIT = re.compile(r"ㅋ+|;+|[^ㅋ;]")
_ROW = "'character<TAB>tag'"
# Characters that entities of each type often end with; persons have none in common.
_ENDINGS = {
    "PS": "",
    "LC": "국시도동울본구",
    "OG": "찰부당청사회C",
    "DT": "일월년날해대",
    "TI": "분간후",
    "QT": "명점개원%번편m0123456789",
}
# The order in which the table on the hub numbers the tags.
_HUB_ORDER = (*(f"{prefix}-{type_}" for type_ in sorted(TYPES) for prefix in "BI"), "O")
_HUB_TAGS: dict[int | str, str] = {**dict(enumerate(_HUB_ORDER)), **{t: t for t in _HUB_ORDER}}


class NER(Task):
    """KLUE-NER: six types of entities; gold and answers have one IOB2 tag per character.

    The model sees a run of ㅋ or of ; as a single character; scores refer to the original sentence.

    Parsing what `target_text` wrote gives the gold again, except where the text is truly
    ambiguous: an entity directly after a `<` of the sentence (`<` + `<서울:LC>` reads as the
    entity `<서울`, which is also what the published tags do), and a sentence that itself contains
    something like `:LC>` in or after an entity (the first one closes the mark). An I- tag that
    continues nothing is not an entity and is not marked.
    """

    name: ClassVar[str] = "ner"
    title: ClassVar[str] = "Named entity recognition (KLUE-NER)"
    formats: ClassVar[str] = "KLUE-NER tsv, parquet"
    input_fields: ClassVar[tuple[str, ...]] = ("sentence",)
    main_score: ClassVar[str] = "entity_macro_f1"

    def read(self, path: str | Path) -> list[Example]:
        """Reads a KLUE-NER tsv, or the `.parquet` table on the hub.

        A row of a tsv is `character<TAB>tag`. Blank lines separate sentences, and lines that begin
        with `##` are comments; the comment `## name<TAB>marked sentence` names the sentence below
        it. A BOM, CRLF, several blank lines, no comments and no last newline are all accepted.
        """
        is_table = Path(path).suffix.lower() == ".parquet"
        examples = _read_parquet(path) if is_table else _read_rows(path)
        _warn_of_lost_entities(examples)
        return examples

    def input_text(self, example: Example) -> str:
        """Returns the sentence in the published prompt."""
        return f"task: NER\n\n### 입력\n{_collapse(example.inputs['sentence'])}\n"

    def target_text(self, example: Example) -> str:
        """Returns the sentence with the gold entities marked."""
        return _mark(example.inputs["sentence"], entities(self.gold(example)))

    def parse(self, text: str, example: Example) -> Parsed:
        """Reads one tag for each character of the example's sentence from a generated text.

        A text that is not simply the sentence plus marks is aligned to it by the longest common
        subsequence. An entity then extends from its first to its last aligned character, and is
        dropped if it has none.
        """
        sentence = example.inputs["sentence"]
        found, reason = _read_copy(text, sentence), None
        if found is None:
            found, reason = _align(text, sentence)
        return Parsed(to_tags(found, len(sentence)), reason)

    def score_values(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Computes the scores of `metrics.ner.scores`."""
        return scores(*self._scored_tags(examples, values))

    def label_scores(
        self, examples: Sequence[Example], generated_texts: Sequence[str]
    ) -> list[LabelScore]:
        """Scores each type of entity."""
        parsed = [self.parse(t, e).value for e, t in zip(examples, generated_texts, strict=True)]
        return entity_type_scores(*self._scored_tags(examples, parsed))

    def _scored_tags(
        self, examples: Sequence[Example], values: Sequence[Sequence[str]]
    ) -> tuple[list[list[str]], list[list[str]]]:
        """Returns the tags that are scored, of the gold and of the answers."""
        sentences = [example.inputs["sentence"] for example in examples]
        gold = [without_blanks(s, self.gold(e)) for s, e in zip(sentences, examples, strict=True)]
        given = [without_blanks(s, tags) for s, tags in zip(sentences, values, strict=True)]
        return gold, given

    def fit(self, example: Example, max_bytes: int, stride: int | None = None) -> list[Example]:
        """Drops the end of the sentence from input and gold: the model copies only what it sees."""
        sentence = example.inputs["sentence"]
        shown = _collapse(sentence)
        excess = byte_length(self.input_text(example)) - max_bytes
        if excess <= 0:
            return [example]
        kept = list(_units(sentence))[: len(truncate(shown, max(0, byte_length(shown) - excess)))]
        end = kept[-1][1] if kept else 0
        gold = None if example.gold is None else example.gold[:end]
        return [replace(example, inputs={"sentence": sentence[:end]}, gold=gold)]

    def max_target_bytes(self, example: Example) -> int:
        """Returns the length of the sentence with a mark (5 bytes) per word and a dozen more."""
        sentence = example.inputs["sentence"]
        return byte_length(sentence) + 5 * len(sentence.split()) + 64

    def form(self, example: Example) -> Marked:
        """Allows the sentence as the model sees it, with marks."""
        endings = tuple(_ENDINGS[type_] for type_ in TYPES)
        return Marked(_collapse(example.inputs["sentence"]), TYPES, endings)

    def to_json(self, parsed: Parsed, example: Example) -> list[dict[str, Any]]:
        """Returns the entities with their character offsets in the sentence, `end` exclusive."""
        sentence = example.inputs["sentence"]
        return [
            {"text": sentence[start:end], "type": type_, "start": start, "end": end}
            for type_, start, end in entities(parsed.value)
        ]

    def show(self, parsed: Parsed, example: Example) -> str:
        """Returns the original sentence, with marks."""
        return _mark(example.inputs["sentence"], entities(parsed.value), collapse=False)

    def baseline(self, train: Sequence[Example], examples: Sequence[Example]) -> list[str]:
        """Marks the entities that a look-up of the training entities finds."""
        lexicon = Lexicon([(example.inputs["sentence"], self.gold(example)) for example in train])
        sentences = [example.inputs["sentence"] for example in examples]
        return [_mark(sentence, lexicon.find(sentence)) for sentence in sentences]


def _warn_of_lost_entities(examples: Sequence[Example]) -> None:
    """Warns of I- tags that continue nothing: a file in IO or IOB1 would lose its entities."""
    places = []
    for example in examples:
        tagged = sum(tag != "O" for tag in example.gold)
        if tagged > sum(entity.end - entity.start for entity in entities(example.gold)):
            places.append(example.place)
    if places:
        warnings.warn(
            f"{places[0]}: I- tags here, and in {len(places) - 1} more sentences, continue nothing"
            " and mark no entity; begin each entity with a B- tag (IOB2)",
            stacklevel=3,
        )


def _read_rows(path: str | Path) -> list[Example]:
    lines = read_lines(path)
    examples = []
    for blank, block in groupby(lines, key=lambda line: not line[1].strip()):
        if not blank and (example := _read_block(path, list(block), len(lines))):
            examples.append(example)
    if not examples:
        raise InputError(f"{path}:1: no sentence here; expected rows {_ROW}")
    return examples


def _read_parquet(path: str | Path) -> list[Example]:
    """Reads the columns `tokens` (single characters) and `ner_tags` (names or numbers of tags)."""
    examples = []
    for number, record in enumerate(read_parquet(path), 1):
        place = f"{path}:{number}"
        characters, tags = record.get("tokens"), record.get("ner_tags")
        if not isinstance(characters, list) or not isinstance(tags, list) or not characters:
            raise InputError(f"{place}: not KLUE-NER; expected the lists 'tokens' and 'ner_tags'")
        named = tuple(_HUB_TAGS.get(tag, "") if isinstance(tag, int | str) else "" for tag in tags)
        are_characters = all(isinstance(c, str) and len(c) == 1 for c in characters)
        if "" in named or len(tags) != len(characters) or not are_characters:
            problem = "tokens and ner_tags are not a character and a known tag each"
            raise InputError(f"{place}: {problem}; expected {' '.join(_HUB_ORDER)}")
        name = str(record.get("guid") or number)
        examples.append(Example(name, {"sentence": "".join(characters)}, named, place))
    if not examples:
        raise InputError(f"{path}:1: no sentence here; expected rows with tokens and ner_tags")
    return examples


def _read_block(path: str | Path, block: list[tuple[int, str]], last: int) -> Example | None:
    """Reads the lines between two blank ones; None if they are only comments."""
    first, name, marked = None, None, ""
    characters, tags = [], []
    for number, line in block:
        place = f"{path}:{number}"
        hint = "; the file seems to be cut off here" if number == last else ""
        if not line.startswith("##"):
            first = first or number
            character, tag = _read_row(line, place, hint)
            characters.append(character)
            tags.append(tag)
        elif first:
            raise InputError(f"{place}: comment inside a sentence; expected a blank line first")
        elif hint:
            raise InputError(f"{place}: no rows below the comment; expected {_ROW}{hint}")
        elif match := NAME_COMMENT.fullmatch(line):
            name, marked = match.groups()

    end = f"{path}:{block[-1][0]}"
    if not first:
        if name:
            raise InputError(f"{end}: no rows for {name}; expected {_ROW}")
        return None
    sentence = "".join(characters)
    # A file cut off between two rows looks well-formed; only the comment has the whole sentence.
    whole = _strip(marked)[0]
    if block[-1][0] >= last - 1 and whole != sentence and whole.startswith(sentence):
        raise InputError(f"{end}: the file ends here; expected the other rows of {name}")
    place = f"{path}:{first}"
    return Example(name or str(first), {"sentence": sentence}, tuple(tags), place)


def _read_row(line: str, place: str, hint: str) -> tuple[str, str]:
    # From the right, because the character may itself be a tab.
    character, tab, tag = line.rpartition("\t")
    if not tab:
        problem = "no tab"
    elif not character:
        problem = "no character before the tab"
    elif len(character) > 1:
        columns = line.count(tab) + 1
        problem = f"{columns} columns" if columns > 2 else f"{len(character)} characters in a row"
    elif tag not in TAGS:
        problem = f"unknown tag {tag[:20]!r}, known are {' '.join(TAGS)}"
    else:
        return character, tag
    raise InputError(f"{place}: {problem}; expected {_ROW}{hint}")


def _units(sentence: str, boundaries: Collection[int] = ()) -> Iterator[tuple[int, int]]:
    """Yields the spans of a sentence that the model sees as one character each.

    A run with the boundary of an entity inside is not collapsed, since the position of the
    boundary would be lost. The input, which must not depend on the gold, collapses it all the
    same; none of the 4,000 available sentences has such a run.
    """
    for match in _UNIT.finditer(sentence):
        start, end = match.span()
        if end - start > 1 and any(place in boundaries for place in range(start + 1, end)):
            yield from ((place, place + 1) for place in range(start, end))
        else:
            yield start, end


def _collapse(sentence: str) -> str:
    return _RUN.sub(lambda run: run[0][0], sentence)


def _mark(sentence: str, found: Iterable[Entity], collapse: bool = True) -> str:
    found = list(found)
    opens = {entity.start for entity in found}
    closes = {entity.end: f":{entity.type}>" for entity in found}
    every = range(len(sentence) + 1)
    return "".join(
        ("<" if start in opens else "") + sentence[start] + closes.get(end, "")
        for start, end in _units(sentence, {*opens, *closes} if collapse else every)
    )


_OUTSIDE, _OPENED, _INSIDE = range(3)


def _read_copy(text: str, sentence: str) -> list[Entity] | None:
    """Reads a text that is the sentence plus marks; None if it is not.

    This is a depth-first search over states (position in the text, position in the sentence,
    inside or outside a mark). It tries `<` and `:TAG>` as marks before it tries them as characters,
    and enters no state twice. There are only a few states for each position in the text, unless the
    sentence itself contains many `:TAG>`; the limit avoids quadratic time in that case.
    """
    run_ends = {run.start(): run.end() for run in _RUN.finditer(sentence)}
    closes = {match.start(): match for match in _CLOSE.finditer(text)}
    seen: set[tuple[int, int, int]] = set()
    nothing: tuple[Entity, ...] = ()
    waiting = [((0, 0, _OUTSIDE), 0, nothing)]
    while waiting and len(seen) <= 16 * (len(text) + 1):
        state, opened, found = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        here, there, where = state
        if here == len(text):
            if there == len(sentence) and where == _OUTSIDE:
                return list(found)
            continue
        # Pushed last, tried first.
        if there < len(sentence) and text[here] == sentence[there]:
            after = _OUTSIDE if where == _OUTSIDE else _INSIDE
            waiting.append(((here + 1, there + 1, after), opened, found))
            if there in run_ends:
                waiting.append(((here + 1, run_ends[there], after), opened, found))
        if where == _OUTSIDE and text[here] == "<":
            waiting.append(((here + 1, there, _OPENED), there, found))
        if where == _INSIDE and (close := closes.get(here)):
            entity = Entity(close[1], opened, there)
            waiting.append(((close.end(), there, _OUTSIDE), there, (*found, entity)))
    return None


def _align(text: str, sentence: str) -> tuple[list[Entity], str]:
    """Reads the entities of a text that differs from the sentence, and how it differs."""
    plain, marked = _strip(text)
    units = list(_units(sentence))
    shown = _collapse(sentence)
    unit_of: dict[int, tuple[int, int]] = {}
    for step in LCSseq.opcodes(plain, shown):
        if step.tag == "equal":
            unit_of.update(enumerate(units[step.dest_start : step.dest_end], step.src_start))
    found = []
    for type_, start, end in marked:
        aligned = [unit_of[place] for place in range(start, end) if place in unit_of]
        if aligned:
            found.append(Entity(type_, aligned[0][0], aligned[-1][1]))

    if not text.strip():
        return found, "empty"
    # More halves of marks than the sentence itself contains.
    if any(len(half.findall(plain)) > len(half.findall(shown)) for half in (_OPEN, _CLOSE)):
        return found, "unbalanced mark"
    # Either the model stopped early, or it saw no more of a sentence over the limit of its input.
    return found, "only the beginning" if shown.startswith(plain) else "the sentence was changed"


def _strip(text: str) -> tuple[str, list[Entity]]:
    """Removes the marks from a text and returns the rest with the entities in it.

    As in `_read_copy`, a closing mark belongs to the nearest `<` before it, or to the first of
    several in a row. A half without a partner, or a mark around nothing, stays as text.
    """
    pieces: list[str] = []
    marked = []
    opened, copied, removed = None, 0, 0
    for match in _MARK.finditer(text):
        start = match.start()
        if not match[1]:
            opened = start
            continue
        if opened is not None and opened + 1 < start:
            pieces += [text[copied:opened], text[opened + 1 : start]]
            marked.append(Entity(match[1], opened - removed, start - removed - 1))
            copied = match.end()
            removed += 1 + len(match[0])
        opened = None
    return "".join([*pieces, text[copied:]]), marked


__all__ = ["NER"]
