"""Finds names in running text with a model fine-tuned on named entities."""

import re
from collections.abc import Iterable, Iterator, Sequence

from transformers import PreTrainedModel

from kebyt5.generation.batch import generate_texts
from kebyt5.tasks import get_task

NAMES = ("PS", "LC", "OG")
"""Entity types of KLUE-NER that count as names: persons, places, organizations."""

MAX_CHARACTERS = 120
"""Most characters of a sentence; longer ones are cut."""

_BATCH_SIZE = 32  # sentences

_SENTENCE = re.compile(
    rf"\S(?:[^\n]{{0,{MAX_CHARACTERS - 2}}}[.!?\n]|[^\n]{{0,{MAX_CHARACTERS - 1}}})"
)


class NameTagger:
    """Finds the character spans of the names in texts, sentence by sentence.

    Args:
        model: A model fine-tuned on the task `ner`.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def __call__(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Returns for each text where names begin and end."""
        task = get_task("ner")
        sentences = [
            (number, begin, task.example(sentence=sentence))
            for number, text in enumerate(texts)
            for begin, sentence in sentences_of(text)
        ]
        examples = [example for _, _, example in sentences]
        answers = generate_texts(
            self.model,
            [task.input_text(example) for example in examples],
            [task.max_target_bytes(example) for example in examples],
            _BATCH_SIZE,
        ).texts
        found: list[list[tuple[int, int]]] = [[] for _ in texts]
        for (number, begin, example), answer in zip(sentences, answers, strict=True):
            entities: Iterable[dict[str, int]] = task.to_json(task.parse(answer, example), example)
            found[number] += [
                (begin + entity["start"], begin + entity["end"])
                for entity in entities
                if entity["type"] in NAMES
            ]
        return found


def sentences_of(text: str) -> Iterator[tuple[int, str]]:
    """Yields the offset and the text of each sentence; long ones come in pieces."""
    return ((match.start(), match[0].rstrip()) for match in _SENTENCE.finditer(text))
