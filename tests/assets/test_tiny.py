"""The checkpoint and the data that come with the package do what they are there for."""

from pathlib import Path

import pytest
import torch
import yaml
from rapidfuzz.distance import LCSseq

import kebyt5
from kebyt5.finetuning.config import FinetuneConfig
from kebyt5.finetuning.finetune import finetune
from kebyt5.generation.batch import generate_texts
from kebyt5.models.loading import SHIPPED

ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_checkpoint_loads_by_name_and_copies_what_it_reads():
    assert (SHIPPED["tiny"] / "model.safetensors").stat().st_size <= 25e6
    model = kebyt5.load("tiny")
    assert type(model) is kebyt5.GBSWT5ForConditionalGeneration
    assert model.shared.weight.dtype == torch.float32
    text = "어제 친구와 함께 본 영화는 생각보다 재미있었다."
    (copy,) = generate_texts(model, [text], [100])
    assert LCSseq.normalized_similarity(text, copy) > 0.6


@pytest.mark.slow
def test_the_demo_beats_the_lexicon_by_fifteen_points(tmp_path):
    settings = yaml.safe_load((ROOT / "scripts" / "demo.yaml").read_text())["finetune"]
    sample = SHIPPED["tiny"].parent / "sample_ner"
    train, dev = sample / "train.tsv", sample / "dev.tsv"
    config = FinetuneConfig(task="ner", train=train, dev=dev, output=tmp_path, **settings)
    metrics = finetune(config)
    for score in ("entity_macro_f1", "entity_micro_f1"):
        assert metrics["scores"][score] >= metrics["baseline"][score] + 15
