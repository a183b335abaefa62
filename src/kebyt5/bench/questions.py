"""The questions of a load: texts of mixed lengths, and the right answers to them."""

import codecs
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from kebyt5.client import GenerateRequest
from kebyt5.generation.request import encode_input
from kebyt5.models.loading import load
from kebyt5.models.tokenization_kebyt5 import OFFSET
from kebyt5.progress import track
from kebyt5.tasks import get_task

SAMPLE = Path(__file__).parents[1] / "assets" / "sample_ner" / "dev.tsv"
"""File with the sentences of the texts."""

SENTENCES = (1, 1, 1, 2, 2, 4, 8)
"""Numbers of sentences in a text, drawn with equal probability."""

LIMITS = (32, 64, 128, 256)
"""Limits on the bytes generated, drawn with equal probability."""

_SEED = 0


@dataclass(frozen=True)
class Question:
    """A request, its right answer, and the seconds that Transformers took for it."""

    request: GenerateRequest
    answer: str
    seconds: float


def make_questions(checkpoint: str, count: int) -> list[Question]:
    """Draws texts and limits, and answers them by Transformers, one at a time.

    Args:
        checkpoint: The checkpoint that answers.
        count: Number of questions.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
    """
    model = load(checkpoint)
    rng = random.Random(_SEED)
    task = get_task("ner")
    sentences = [example.inputs["sentence"] for example in task.read(SAMPLE)]
    questions = []
    _greedy(model, GenerateRequest(input=sentences[0], max_new_bytes=LIMITS[0]))  # warms up
    for _ in track(range(count), "Answers to compare with"):
        sentence = " ".join(rng.choices(sentences, k=rng.choice(SENTENCES)))
        text = task.input_text(task.example(sentence=sentence))
        request = GenerateRequest(input=text, max_new_bytes=rng.choice(LIMITS))
        began = time.perf_counter()
        answer = _greedy(model, request)
        questions.append(Question(request, answer, time.perf_counter() - began))
    return questions


@torch.inference_mode()
def _greedy(model: PreTrainedModel, request: GenerateRequest) -> str:
    (text,) = request.inputs
    ids = torch.from_numpy(encode_input(text, "huggingface"))[None]
    generated = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=request.max_new_bytes,
        do_sample=False,
        num_beams=1,
    )[0, 1:].tolist()
    data = bytes(i - OFFSET for i in generated if i >= OFFSET)
    ends = generated[-1] == model.generation_config.eos_token_id
    # An incomplete character at the limit is dropped; elsewhere it becomes U+FFFD.
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data, ends)
