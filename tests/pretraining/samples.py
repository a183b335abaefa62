"""Corpora of random words, what examples made of them say about their source, and found names."""

import numpy as np

from kebyt5.corpus.shards import Shards, ShardWriter
from kebyt5.generation.batch import GeneratedTexts
from kebyt5.models.tokenization_kebyt5 import EOS

WORDS = ("하늘", "이 ", "맑다", ". ", "abc ", "🙂", "é", "\n", "12개 ", "2024년 ")


def corpus(folder, documents, max_bytes=10_000):
    """Shards with so many documents of random words in each source."""
    rng = np.random.default_rng(0)
    for source, count in documents.items():
        with ShardWriter(folder / source, "0", max_bytes) as writer:
            for _ in range(count):
                writer.write("".join(rng.choice(WORDS, rng.integers(1, 400))))
    return Shards(folder)


def reconstruct(input_ids, labels):
    """The source from input and target, by reading them as their definition says."""
    inputs = input_ids[: input_ids.index(EOS)]
    target = labels[: labels.index(EOS)]
    sentinels = [258 - i for i in range(sum(i > 247 for i in target))]
    assert [i for i in target if i in sentinels] == sentinels == [i for i in inputs if i > 247]
    assert target[0] == 258
    source = []
    for i in inputs:
        if i in sentinels:
            begin = target.index(i) + 1
            end = target.index(i - 1) if i - 1 in sentinels else len(target)
            source += target[begin:end]
        else:
            source.append(i)
    return bytes(i - 3 for i in source)


def marking(kinds):
    """What stands in for `generate_texts` of a model that marks these words with their kinds."""

    def generate(model, inputs, max_new_bytes, batch_size):
        texts = [text.removeprefix("task: NER\n\n### 입력\n").rstrip() for text in inputs]
        for word, kind in kinds.items():
            texts = [text.replace(word, f"<{word}:{kind}>") for text in texts]
        return GeneratedTexts(texts, [False] * len(texts), None)

    return generate
