"""Reading comprehension (KLUE-MRC): the model answers or declines, then judges its answer."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kebyt5.tasks.metrics.mrc import normalize, scores
from kebyt5.tasks.squad import Answers, QuestionTask, read_questions
from kebyt5.tasks.task import Example, Parsed

UNKNOWN = "[알 수 없음]"
"""The answer to a question that the context does not answer."""

_SAYS, _RIGHT, _WRONG, _INSTEAD = "출력: ", "정답임", "정답이 아님", ", 새 정답: "
_FINAL = f"\n{_RIGHT}"
_CORRECTION = f"\n{_WRONG}{_INSTEAD}"
_DIGITS = "0123456789"


class MRC(QuestionTask):
    """KLUE-MRC: a question about a context; the gold is its `Answers`, each of them right.

    Parsing what `target_text` wrote gives the first gold answer again, even if it has several
    lines. The only exception is an answer that is not in the context and has a line that begins
    with a verdict.
    """

    name: ClassVar[str] = "mrc"
    title: ClassVar[str] = "Machine reading comprehension (KLUE-MRC)"
    formats: ClassVar[str] = "KLUE-MRC json, parquet"
    main_score: ClassVar[str] = "rouge_w"

    rivals: ClassVar[tuple[str, ...]] = (f"{_SAYS}{UNKNOWN}{_FINAL}",)

    corrupted_share: ClassVar[float] = 0.03
    corrupted_numeric_share: ClassVar[float] = 0.10
    corrected_share: ClassVar[float] = 0.20

    def read(self, path: str | Path) -> list[Example]:
        """Reads a KLUE-MRC v1.1 JSON file, or a Parquet file with one question per row."""
        examples = []
        for question in read_questions(path):
            gold = question.answers
            if question.is_impossible:
                # The published Parquet files have plausible answers in the column of right ones.
                gold = Answers((UNKNOWN,), gold.plausible or gold.texts)
            examples.append(question.example(gold))
        return examples

    def input_text(self, example: Example) -> str:
        """Returns the question and the context in the published prompt."""
        question, context = (example.inputs[field] for field in self.input_fields)
        return (
            f"task: MRC, 지문을 읽고 질문에 답을 할 수 없다면 '{UNKNOWN}'을 출력한다.\n\n"
            f"### 질문\n{question}\n\n### 지문\n{context}\n"
        )

    def target_text(self, example: Example) -> str:
        """Returns the first gold answer, judged right."""
        return f"{_SAYS}{self.gold(example).texts[0]}{_FINAL}"

    def training_pair(self, example: Example, seed: int) -> tuple[str, str]:
        """Returns input and target; some targets give a wrong answer first and then correct it.

        Of the questions with an answer, 3 % (10 % if it has a digit) first give a corrupted one and
        20 % first say that there is none. Of the questions without an answer, 20 % first give an
        answer that is only plausible, if the data has one.
        """
        # The example is part of the seed, so the same `seed` may be used for all examples.
        rng = random.Random(f"{seed} {example.id} {example.inputs['question']}")
        gold = self.gold(example)
        wrong = _wrong_answer(gold, rng)
        target = self.target_text(example)
        if wrong is not None:
            target = f"{_SAYS}{wrong}{_CORRECTION}{gold.texts[0]}"
        return self.input_text(example), target

    def parse(self, text: str, example: Example) -> Parsed:
        """Reads the final answer of a text.

        It is the answer that the text judges right, or else the one after the last `, 새 정답: `,
        or else the first line.
        """
        reason = None if text.startswith(_SAYS) else f"no {_SAYS!r}"
        said = text.removeprefix(_SAYS)
        whole = said.removesuffix(_FINAL)
        if whole != said:
            # Answers are copies: one that contains lines like a verdict counts as an answer only
            # if the context contains it as a whole.
            ambiguous = _FINAL in whole or _CORRECTION in whole
            if not ambiguous or whole in example.inputs["context"]:
                return Parsed(whole, reason)
        answer, _, verdict = said.partition("\n")
        if verdict.startswith(_RIGHT):
            return Parsed(answer, reason)
        if _INSTEAD in said:
            if _CORRECTION not in said:
                reason = reason or f"no {_WRONG!r}"
            return Parsed(said.rpartition(_INSTEAD)[2].removesuffix(_FINAL), reason)
        if not text.strip():
            return Parsed("", "empty")
        return Parsed(answer, reason or "no verdict")

    def score_values(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Computes the scores of `metrics.mrc.scores`."""
        return scores([self.gold(example).texts for example in examples], values)

    def max_target_bytes(self, example: Example) -> int:
        """Returns room for two answers of 350 bytes; the longest in the data has 228."""
        return 768

    def fit(self, example: Example, max_bytes: int, stride: int | None = None) -> list[Example]:
        """Makes windows over the context; the gold of those without an answer is `UNKNOWN`."""
        parts = super().fit(example, max_bytes, stride)
        if example.gold is None or parts == [example]:
            return parts
        gold = self.gold(example)
        return [part if part.gold else replace(part, gold=_unknown(part, gold)) for part in parts]

    def choose(self, example: Example, texts: Sequence[str], log_likelihoods: np.ndarray) -> str:
        """Chooses the likeliest answer of all windows, or `UNKNOWN` if each finds that likelier.

        A window that finds its part of the context unanswerable is no evidence against the answer
        of another window. So the answer is compared with `UNKNOWN` in the window where `UNKNOWN`
        is least likely (as for SQuAD 2.0 in BERT, Devlin et al. 2019, sec. 4.3).
        """
        unknown = normalize(UNKNOWN)
        answered = [normalize(self.parse(text, example).value) != unknown for text in texts]
        likelihoods = np.where(answered, log_likelihoods[:, 0], -np.inf)
        best = int(likelihoods.argmax())
        return texts[best] if likelihoods[best] > log_likelihoods[:, 1].min() else self.rivals[0]

    def split_texts(self, lines: Sequence[str], count: int) -> list[str]:
        r"""Extracts the texts from the lines of a plain predictions file.

        A text has two lines, the first of which begins with `출력:`, or one line, with or without a
        literal `\n`.
        """
        lines = [line.replace("\\n", "\n") for line in lines]
        if len(lines) == count:
            return lines
        texts: list[str] = []
        for line in lines:
            if texts and not line.startswith(_SAYS.strip()):
                texts[-1] += f"\n{line}"
            else:
                texts.append(line)
        return [text.rstrip("\n") for text in texts]


def _unknown(part: Example, gold: Answers) -> Answers:
    """Makes the gold of a window without an answer; it keeps the plausible answers it shows."""
    shown = tuple(text for text in gold.plausible if text in part.inputs["context"])
    return Answers((UNKNOWN,), shown)


def _wrong_answer(gold: Answers, rng: random.Random) -> str | None:
    """Draws a wrong answer to give before the right one; None for none."""
    right = gold.texts[0]
    draw = rng.random()
    if right == UNKNOWN:
        has_one = gold.plausible and draw < MRC.corrected_share
        return rng.choice(gold.plausible) if has_one else None
    numeric = any(character in _DIGITS for character in right)
    corrupted = MRC.corrupted_numeric_share if numeric else MRC.corrupted_share
    if draw < corrupted:
        return _corrupt(gold, rng)
    return UNKNOWN if draw < corrupted + MRC.corrected_share else None


def _corrupt(gold: Answers, rng: random.Random) -> str | None:
    """Changes one digit of an answer; in one without digits, drops or doubles a character."""
    right = gold.texts[0]
    places = [place for place, character in enumerate(right) if character in _DIGITS]
    changed = [(place, digit) for place in places for digit in _DIGITS] or [
        (place, character * times) for place, character in enumerate(right) for times in (0, 2)
    ]
    texts = {right[:place] + edit + right[place + 1 :] for place, edit in changed}
    # Sorted, since the order of a set differs from run to run.
    wrong = sorted(texts - {*gold.texts, ""})
    return rng.choice(wrong) if wrong else None


__all__ = ["MRC", "UNKNOWN"]
