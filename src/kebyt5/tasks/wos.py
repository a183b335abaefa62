"""Dialogue state tracking (WoS): the model writes what the user wants so far."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from kebyt5.errors import InputError
from kebyt5.models.offsets import byte_length
from kebyt5.tasks.files import Record, read_records
from kebyt5.tasks.metrics.wos import scores
from kebyt5.tasks.task import Example, Parsed, Task

SPEAKERS = {"user": "사용자: ", "sys": "시스템: "}
"""How a line of a dialogue begins, by the role in the data."""

_BETWEEN, _NOTHING = "▁", "없음"
_LINE_END = re.compile(r"\r?\n")


class WOS(Task):
    """Wizard of Seoul: a dialogue up to a user turn; the gold is the state after that turn.

    A state is a frozenset of texts `도메인-슬롯=값`. No slot contains a `=`, so the first one
    separates slot and value. No value contains a `▁`, which separates the pairs.
    """

    name: ClassVar[str] = "wos"
    title: ClassVar[str] = "Dialogue state tracking (WoS)"
    formats: ClassVar[str] = "WoS json, parquet"
    input_fields: ClassVar[tuple[str, ...]] = ("dialogue",)
    main_score: ClassVar[str] = "jga"
    max_input_bytes: ClassVar[int] = 4096

    @property
    def takes_plain_text(self) -> bool:
        """Returns False: a dialogue has several lines."""
        return False

    def read(self, path: str | Path) -> list[Example]:
        """Reads a WoS v1.1 JSON or Parquet file; each user turn of a dialogue is one example."""
        examples = [example for record in read_records(path) for example in _turns(record)]
        if not examples:
            raise InputError(f"{path}:1: no user turn here; expected at least one")
        return examples

    def input_text(self, example: Example) -> str:
        """Returns the dialogue so far in the prompt."""
        return f"task: DST\n\n### 대화\n{example.inputs['dialogue']}\n"

    def target_text(self, example: Example) -> str:
        """Returns the sorted pairs of the state."""
        return _write(self.gold(example))

    def parse(self, text: str, example: Example) -> Parsed:
        """Reads the pairs of a state and ignores everything else."""
        if text.strip() == _NOTHING:
            return Parsed(frozenset())
        pieces = [piece.strip() for piece in text.split(_BETWEEN)]
        pairs = frozenset(piece for piece in pieces if "=" in piece)
        wrong = [piece for piece in pieces if "=" not in piece]
        slots = Counter(pair.partition("=")[0] for pair in pairs)
        twice = [slot for slot, times in slots.items() if times > 1]
        reason = None
        if wrong:
            reason = f"not a pair: {wrong[0][:20]!r}"
        elif twice:
            reason = f"two values for {twice[0][:20]!r}"
        return Parsed(pairs, reason if text.strip() else "empty")

    def score_values(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Computes the scores of `metrics.wos.scores`."""
        return scores([self.gold(example) for example in examples], values)

    def max_target_bytes(self, example: Example) -> int:
        """Returns twice the longest state in the available data."""
        return 1280

    def to_json(self, parsed: Parsed, example: Example) -> dict[str, str]:
        """Returns the values by their slots."""
        return dict(pair.split("=", 1) for pair in sorted(parsed.value))

    def show(self, parsed: Parsed, example: Example) -> str:
        """Returns the state, written like a target."""
        return _write(parsed.value)

    def group(self, example: Example) -> str:
        """Returns the name of the dialogue; each user turn of it is an example."""
        return example.id.rpartition("-")[0]

    def damage(self, example: Example, noise: Callable[[str], str]) -> Example:
        """Damages what is said; the speakers stay."""
        lines = []
        for line in example.inputs["dialogue"].split("\n"):
            speaker = next((s for s in SPEAKERS.values() if line.startswith(s)), "")
            lines.append(speaker + noise(line.removeprefix(speaker)))
        return replace(example, inputs={"dialogue": "\n".join(lines)})

    def fit(self, example: Example, max_bytes: int, stride: int | None = None) -> list[Example]:
        """Drops the oldest turns of a dialogue, as few as possible.

        The last turn always stays; if it is too long by itself, it loses its beginning.

        Raises:
            InputError: The limit leaves no room for a turn.
        """
        dialogue = example.inputs["dialogue"]
        room = max_bytes - byte_length(self.input_text(replace(example, inputs={"dialogue": ""})))
        kept = dialogue
        while byte_length(kept) > room and "\n" in kept:
            kept = kept.partition("\n")[2]
        if byte_length(kept) > room:
            speaker = next((s for s in SPEAKERS.values() if kept.startswith(s)), "")
            room -= byte_length(speaker)
            if room < 4:
                raise InputError(
                    f"{example.place or example.id or 'input'}: no room for a turn within"
                    f" {max_bytes} bytes; raise the limit"
                )
            # Decoding drops an incomplete character at the cut.
            tail = kept.encode(errors="surrogatepass")[-room:].decode(errors="ignore")
            kept = speaker + tail
        return [example if kept == dialogue else replace(example, inputs={"dialogue": kept})]


def _turns(dialogue: Record) -> Iterator[Example]:
    name = dialogue.id
    turns = dialogue.get("dialogue")
    if not isinstance(turns, list):
        raise InputError(
            f"{dialogue.place}: 'dialogue' of {name} is not a list; expected its turns"
        )
    lines: list[str] = []
    count = 0
    for number, fields in enumerate(turns):
        place = f"{dialogue.place}: turn {number} of {name}"
        if not isinstance(fields, dict):
            raise InputError(f"{place}: not an object; expected one with role and text")
        turn = Record(fields, place)
        role = turn.text("role")
        if role not in SPEAKERS:
            raise InputError(f"{place}: unknown role {role!r}; expected {' or '.join(SPEAKERS)}")
        lines.append(SPEAKERS[role] + _LINE_END.sub(" ", turn.text("text")))
        if role == "user":
            # The official code forms names in the same way.
            inputs = {"dialogue": "\n".join(lines)}
            yield Example(f"{name}-{count}", inputs, _state(turn), dialogue.place)
            count += 1


def _state(turn: Record) -> frozenset[str]:
    """Reads pairs `domain-slot-value`; a value may contain `-`, domains and slots do not."""
    pairs = turn.get("state")
    if not isinstance(pairs, list):
        raise InputError(f"{turn.place}: 'state' is not a list; expected one, empty for no state")
    state = set()
    for pair in pairs:
        parts = pair.split("-", 2) if isinstance(pair, str) else []
        if _BETWEEN in str(pair):
            problem = f"contains {_BETWEEN}, which separates pairs"
            raise InputError(f"{turn.place}: state {pair!r} {problem}")
        if len(parts) != 3 or not all(parts[:2]):
            raise InputError(f"{turn.place}: state {pair!r}; expected 'domain-slot-value'")
        state.add("{}-{}={}".format(*parts).strip())
    return frozenset(state)


def _write(state: frozenset[str]) -> str:
    return _BETWEEN.join(sorted(state)) or _NOTHING


__all__ = ["SPEAKERS", "WOS"]
