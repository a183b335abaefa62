"""The checkpoint and the data that come with the package do what they are there for."""

import math
from pathlib import Path

import pytest
import torch
import yaml

import kebyt5
from kebyt5.finetuning.config import FinetuneConfig
from kebyt5.finetuning.finetune import finetune
from kebyt5.models.loading import SHIPPED

ROOT = Path(__file__).resolve().parents[2]


TEXTS = [
    "어제 친구와 함께 본 영화는 생각보다 재미있었다. 배우들의 연기가 좋았고 음악도 마음에 들었다.",
    "다음 달부터 새 도서관이 문을 열면 동네 아이들이 오후마다 모여 책을 읽을 수 있게 된다.",
]


def bits(model, read, written):
    """Of a text, by id, given what the encoder reads."""
    tokenizer = kebyt5.ByteTokenizer()
    inputs, labels = (tokenizer(text, return_tensors="pt").input_ids for text in (read, written))
    with torch.no_grad():
        return model(input_ids=inputs, labels=labels).loss.item() / math.log(2)


def test_the_shipped_model_loads_by_name_and_reads_what_it_writes_about():
    assert (SHIPPED["tiny"] / "model.safetensors").stat().st_size <= 25e6
    model = kebyt5.load("tiny")
    assert type(model) is kebyt5.GBSWT5ForConditionalGeneration
    assert model.shared.weight.dtype == torch.float32
    first, second = TEXTS
    for text, other in ((first, second), (second, first)):
        assert bits(model, text, text) < 0.5 < 3 < bits(model, other, text)


@pytest.mark.slow
def test_the_demo_beats_the_lexicon_by_fifteen_points(tmp_path):
    settings = yaml.safe_load((ROOT / "scripts" / "demo.yaml").read_text())["finetune"]
    sample = SHIPPED["tiny"].parent / "sample_ner"
    train, dev = sample / "train.tsv", sample / "dev.tsv"
    config = FinetuneConfig(task="ner", train=train, dev=dev, output=tmp_path, **settings)
    metrics = finetune(config)
    for score in ("entity_macro_f1", "entity_micro_f1"):
        assert metrics["scores"][score] >= metrics["baseline"][score] + 15
