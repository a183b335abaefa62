"""Checkpoints and adapters by name."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

import kebyt5
from kebyt5.errors import InputError
from kebyt5.serving.registry import load_models, parse_checkpoints


def test_names(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "ner"
    folder.mkdir(parents=True)
    assert parse_checkpoints([]) == {"tiny": "tiny"}
    assert parse_checkpoints([str(folder)]) == {"ner": str(folder)}
    assert parse_checkpoints(["google/byt5-small", f"a={folder}"]) == {
        "byt5-small": "google/byt5-small", "a": str(folder),
    }  # fmt: skip
    monkeypatch.chdir(folder)
    assert parse_checkpoints(["."]) == {"ner": "."}
    with pytest.raises(InputError, match="taken by"):
        parse_checkpoints([str(folder), f"ner={folder}/2"])
    with pytest.raises(InputError, match="cannot be a name"):
        parse_checkpoints([f"개체명={folder}"])


def test_folders_may_have_an_equals_sign(tmp_path):
    folder = tmp_path / "lr=1e-4" / "ner"
    folder.mkdir(parents=True)
    assert parse_checkpoints([str(folder), f"a={folder.parent}"]) == {
        "ner": str(folder), "a": str(folder.parent),
    }  # fmt: skip
    with pytest.raises(InputError, match=r"'lr=1e-4' cannot be a name .* give one before it"):
        parse_checkpoints([str(folder.parent)])


def test_adapters_share_what_they_leave_as_it_is(checkpoint, tmp_path):
    config = LoraConfig(target_modules=["q", "v"], r=2, init_lora_weights=False)
    for name in ("one", "two"):
        get_peft_model(kebyt5.load(checkpoint), config).save_pretrained(tmp_path / name)
    named = {name: str(tmp_path / name) for name in ("one", "two")}
    models = load_models({"base": str(checkpoint), **named}, torch.device("cpu"))
    weights = [dict(model.named_parameters()) for model in models.values()]
    for name, first in weights[0].items():
        others = [each[name] for each in weights[1:]]
        is_shared = [first.data_ptr() == other.data_ptr() for other in others]
        is_changed = name.endswith((".q.weight", ".v.weight"))
        assert is_shared == [not is_changed] * 2, name
    assert not weights[1]["decoder.block.0.layer.0.SelfAttention.q.weight"].equal(
        weights[2]["decoder.block.0.layer.0.SelfAttention.q.weight"]
    )
