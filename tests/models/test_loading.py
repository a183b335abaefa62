"""Checkpoints load as published, or are refused with a reason."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, BertConfig, BertModel

import kebyt5
from kebyt5 import GBSWT5ForConditionalGeneration
from kebyt5.errors import CheckpointError
from kebyt5.models.loading import save_checkpoint

TIED = {
    "encoder.embed_tokens.embeds.weight": "shared.weight",
    "decoder.embed_tokens.weight": "shared.weight",
}


@pytest.fixture
def checkpoint(tiny_model, tmp_path):
    folder = tmp_path / "checkpoint"
    model = tiny_model()
    model.save_pretrained(folder)
    return folder, model


def tensors(folder):
    return load_file(folder / "model.safetensors")


def write_tensors(folder, content):
    save_file(content, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v != "absent"}))


def same_weights(model, expected):
    state, expected = model.state_dict(), expected.state_dict()
    return all(torch.equal(state[name], expected[name]) for name in expected)


# What loads


@pytest.mark.parametrize("duplicates", [False, True])
@pytest.mark.parametrize("as_pickle", [False, True])
def test_legacy_files_load_with_and_without_duplicate_tied_tensors(
    checkpoint, duplicates, as_pickle
):
    folder, model = checkpoint
    content = tensors(folder)
    assert not TIED.keys() & content.keys()
    if duplicates:
        content |= {name: content[source].clone() for name, source in TIED.items()}
    (folder / "model.safetensors").unlink()
    if as_pickle:
        torch.save(content, folder / "pytorch_model.bin")
    else:
        write_tensors(folder, content)
    loaded = kebyt5.load(folder)
    assert same_weights(loaded, model)
    assert loaded.encoder.embed_tokens.embeds.weight is loaded.shared.weight


@pytest.mark.parametrize("largest", ["absent", None, 9])
def test_block_settings_of_published_configs_load(checkpoint, largest):
    folder, _ = checkpoint
    edit_config(folder, max_subword_block_size=largest, subword_blocks=[[1, 0], [2, 0], [9, 0]])
    assert kebyt5.load(folder).config.blocks == ((1, 0), (2, 0), (9, 0))


def test_weights_in_half_precision_are_loaded_in_float32_unless_asked_otherwise(checkpoint):
    folder, _ = checkpoint
    write_tensors(folder, {name: t.bfloat16() for name, t in tensors(folder).items()})
    edit_config(folder, dtype="bfloat16")
    assert kebyt5.load(folder).shared.weight.dtype == torch.float32
    assert kebyt5.load(folder, dtype=torch.bfloat16).shared.weight.dtype == torch.bfloat16


def test_plain_model_keeps_its_own_lm_head(tiny_model, tmp_path):
    model = tiny_model(gbst=False)
    model.save_pretrained(tmp_path)
    loaded = kebyt5.load(tmp_path)
    assert same_weights(loaded, model)
    assert loaded.lm_head.weight is not loaded.shared.weight
    assert not loaded.config.scale_decoder_outputs


def test_the_published_call_with_remote_code_uses_ours_and_runs_none(checkpoint):
    folder, model = checkpoint
    marker = folder / "remote code has run"
    (folder / "modeling_gbst5.py").write_text(f"open({str(marker)!r}, 'w')\n")
    (folder / "configuration_gbst5.py").write_text(f"open({str(marker)!r}, 'w')\n")
    edit_config(
        folder,
        auto_map={
            "AutoConfig": "configuration_gbst5.GBSWT5Config",
            "AutoModelForSeq2SeqLM": "modeling_gbst5.GBSWT5ForConditionalGeneration",
        },
    )
    loaded = AutoModelForSeq2SeqLM.from_pretrained(folder, trust_remote_code=True)
    assert type(loaded) is GBSWT5ForConditionalGeneration
    assert same_weights(loaded, model)
    assert same_weights(kebyt5.load(folder), model)
    assert not marker.exists()


def test_an_adapter_is_merged_into_its_base(checkpoint, tmp_path):
    from peft import LoraConfig, get_peft_model

    folder, _ = checkpoint
    base = kebyt5.load(folder)
    lora = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q"], init_lora_weights=False)
    adapted = get_peft_model(base, lora).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    ids = torch.randint(3, 259, (1, 20))
    expected = adapted(input_ids=ids, labels=ids).logits
    loaded = kebyt5.load(tmp_path / "adapter")
    assert type(loaded) is GBSWT5ForConditionalGeneration
    torch.testing.assert_close(loaded(ids, labels=ids).logits, expected, atol=1e-5, rtol=1e-4)


def test_a_local_folder_needs_no_network(checkpoint):
    folder, _ = checkpoint
    code = f"""
import socket
def refuse(*args, **kwargs):
    raise AssertionError("a network call")
socket.socket.connect = socket.getaddrinfo = refuse
import kebyt5
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
kebyt5.load({str(folder)!r})
AutoModelForSeq2SeqLM.from_pretrained({str(folder)!r})
kebyt5.ByteTokenizer().save_pretrained({str(folder)!r})
AutoTokenizer.from_pretrained({str(folder)!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# What is refused


def test_missing_tensors_are_refused(checkpoint):
    folder, _ = checkpoint
    content = tensors(folder)
    del content["decoder.final_layer_norm.weight"], content["lm_head.weight"]
    write_tensors(folder, content)
    with pytest.raises(CheckpointError, match=r"2 tensors are missing \(decoder.final_layer_norm"):
        kebyt5.load(folder)


def test_misshapen_tensors_are_refused(checkpoint):
    folder, _ = checkpoint
    edit_config(folder, d_ff=64)
    with pytest.raises(CheckpointError, match=r"tensors have another shape than config.json says"):
        kebyt5.load(folder)


def test_left_over_tensors_are_refused(checkpoint):
    folder, _ = checkpoint
    write_tensors(folder, tensors(folder) | {"encoder.extra.weight": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"1 tensors belong to no parameter"):
        kebyt5.load(folder)


def test_another_architecture_is_refused(tmp_path):
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=9)
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="'bert'"):
        kebyt5.load(tmp_path)


class Harmful:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_a_pickle_with_code_is_refused_and_not_run(checkpoint):
    folder, _ = checkpoint
    (folder / "model.safetensors").unlink()
    marker = folder / "code has run"
    torch.save({"shared.weight": Harmful(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="could run code"):
        kebyt5.load(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful(marker)))
    with pytest.raises(CheckpointError):
        kebyt5.load(folder)
    assert not marker.exists()


def test_tied_tensors_that_differ_are_refused(checkpoint):
    folder, _ = checkpoint
    content = tensors(folder)
    write_tensors(folder, content | {"decoder.embed_tokens.weight": content["shared.weight"] + 1})
    message = r"decoder.embed_tokens.weight and shared.weight differ"
    with pytest.raises(CheckpointError, match=message):
        kebyt5.load(folder)
    with pytest.raises(ValueError, match=message):
        AutoModelForSeq2SeqLM.from_pretrained(folder)


def test_a_head_that_the_checkpoint_has_is_not_left_untied_in_a_tied_model(checkpoint):
    folder, _ = checkpoint
    with pytest.raises(ValueError, match=r"lm_head.weight and shared.weight differ"):
        AutoModelForSeq2SeqLM.from_pretrained(folder, tie_word_embeddings=True)


def test_a_t5_that_reads_subwords_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "t5", "vocab_size": 32128}')
    with pytest.raises(CheckpointError, match="32128 subwords"):
        kebyt5.load(tmp_path)


DAMAGES = {
    "weights cut off": lambda folder: cut(folder / "model.safetensors", 5000),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "empty pickle": lambda folder: only_pickle(folder, b""),
    "garbage pickle": lambda folder: only_pickle(folder, b"garbage"),
    "pickled list": lambda folder: only_pickle(folder, [1]),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "config cut off": lambda folder: (folder / "config.json").write_text("{"),
    "config is a list": lambda folder: (folder / "config.json").write_text("[]"),
    "config is null": lambda folder: (folder / "config.json").write_text("null"),
    "config is not UTF-8": lambda folder: (folder / "config.json").write_bytes(b"\xff{}"),
    "width is text": lambda folder: edit_config(folder, d_model="32"),
    "no heads": lambda folder: edit_config(folder, num_heads=0),
    "odd blocks": lambda folder: edit_config(folder, subword_blocks=[["a", 0]]),
    "no factor": lambda folder: edit_config(folder, downsample_factor=None),
    "odd type": lambda folder: edit_config(folder, model_type=[1]),
    "odd dtype": lambda folder: edit_config(folder, dtype="foo"),
    "shard index without shards": lambda folder: only_index(folder, "{}"),
    "shard index is a list": lambda folder: only_index(folder, "[]"),
    "adapter without base": lambda folder: (folder / "adapter_config.json").write_text("{}"),
    "adapter cut off": lambda folder: (folder / "adapter_config.json").write_text("{"),
}


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def only_pickle(folder, content):
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)


def only_index(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folders_are_refused_in_one_line(checkpoint, damage):
    folder, _ = checkpoint
    DAMAGES[damage](folder)
    with pytest.raises(CheckpointError, match=str(folder)) as error:
        kebyt5.load(folder)
    assert "\n" not in str(error.value)


def test_an_argument_that_there_is_not_is_no_fault_of_the_checkpoint(checkpoint):
    with pytest.raises(TypeError, match="'no_such_option'"):
        kebyt5.load(checkpoint[0], no_such_option=1)


@pytest.mark.parametrize(
    "argument",
    [
        {"attn_implementation": "nope"},
        {"dtype": "nonsense"},
        {"d_ff": 99},
        {"tie_word_embeddings": True},
    ],
    ids=str,
)
def test_an_argument_that_may_be_the_cause_is_named(checkpoint, argument):
    with pytest.raises(
        CheckpointError, match=f"the cause may be an argument: {next(iter(argument))}$"
    ):
        kebyt5.load(checkpoint[0], **argument)


def test_where_there_is_none_the_checkpoint_alone_is_to_blame(checkpoint):
    folder, _ = checkpoint
    edit_config(folder, d_ff=64)
    with pytest.raises(CheckpointError, match=r"does not belong to this config\.json$"):
        kebyt5.load(folder, device_map="cpu")  # changes no shape


def test_the_type_of_weights_goes_by_its_old_name_too(checkpoint):
    folder, _ = checkpoint
    assert kebyt5.load(folder, torch_dtype=torch.bfloat16).dtype == torch.bfloat16


def test_weights_that_the_user_may_not_read_are_named_with_the_remedy(checkpoint, monkeypatch):
    folder, _ = checkpoint
    weights = folder / "model.safetensors"
    weights.write_bytes(b"")  # since root, who may run the tests, reads everything
    monkeypatch.setattr("os.access", lambda path, _: Path(path) != weights)
    with pytest.raises(CheckpointError, match=f"{weights}: this user may not read it; .* chmod"):
        kebyt5.load(folder)


@pytest.mark.parametrize("damage", ["no weights", "fewer weights", "itself as base"])
def test_damaged_adapters_are_refused(checkpoint, tmp_path, damage):
    from peft import LoraConfig, get_peft_model

    folder, _ = checkpoint
    lora = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q"])
    adapter = tmp_path / "adapter"
    get_peft_model(kebyt5.load(folder), lora).save_pretrained(adapter)
    weights = adapter / "adapter_model.safetensors"
    if damage == "no weights":
        weights.unlink()
    elif damage == "fewer weights":
        content = load_file(weights)
        content.popitem()
        save_file(content, weights)
    else:
        path = adapter / "adapter_config.json"
        config = json.loads(path.read_text()) | {"base_model_name_or_path": str(adapter)}
        path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=str(adapter)):
        kebyt5.load(adapter)


def test_an_adapter_of_a_weight_that_is_shared_is_refused(checkpoint, tmp_path):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["embeds"], task_type="SEQ_2_SEQ_LM")
    model = kebyt5.load(checkpoint[0])
    get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=r"adapts .*\.embeds, whose weight other"):
        kebyt5.load(tmp_path / "adapter")


def test_no_name_is_no_folder_and_one_that_cannot_be_is_no_traceback(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint[0])
    assert kebyt5.load(".")
    for name in ("", "x" * 300, "x\0"):
        with pytest.raises(CheckpointError):
            kebyt5.load(name)


@pytest.mark.parametrize("module", ["shared", "embed_tokens", "lm_head"])
def test_so_is_one_that_trains_it_as_a_whole(tiny_model, tmp_path, module):
    from peft import LoraConfig, get_peft_model

    tiny_model(tie_word_embeddings=True).save_pretrained(tmp_path / "base")
    config = LoraConfig(r=2, target_modules=["q"], modules_to_save=[module])
    base = kebyt5.load(tmp_path / "base")
    get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=f"adapts .*{module}, whose weight other"):
        kebyt5.load(tmp_path / "adapter")


@pytest.mark.parametrize("gbst", [True, False])
def test_weights_may_be_offloaded(tiny_model, tmp_path, gbst):
    model, folder = tiny_model(gbst), tmp_path / "checkpoint"
    model.save_pretrained(folder)
    text = kebyt5.ByteTokenizer()(["서울", "부산 바다"], return_tensors="pt", padding=True)
    offloaded = kebyt5.load(folder, device_map={"": "disk"}, offload_folder=tmp_path / "disk")
    expected = model.generate(**text, max_new_tokens=5)
    assert torch.equal(offloaded.generate(**text, max_new_tokens=5), expected)


def test_a_folder_that_does_not_exist_is_not_looked_up_on_the_hub(tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        kebyt5.load(tmp_path / "nothing")


def test_a_hub_name_that_cannot_be_had_is_explained(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="cannot be had from the hub"):
        kebyt5.load("etri-lirs/no-such-model")


def test_a_saved_checkpoint_names_no_code_that_is_not_beside_it(checkpoint, tmp_path):
    _, model = checkpoint
    model.config.auto_map = {"AutoConfig": "configuration_gbswt5.GBSWT5Config"}
    save_checkpoint(model, tmp_path / "saved")
    assert "auto_map" not in json.loads((tmp_path / "saved" / "config.json").read_text())


def test_a_path_is_never_the_name_of_a_shipped_model(checkpoint, tmp_path, monkeypatch):
    folder, model = checkpoint
    folder.rename(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    for mine in (Path("tiny"), Path("./tiny"), "./tiny"):
        assert kebyt5.load(mine).config.d_model == model.config.d_model
    with pytest.warns(UserWarning, match="tiny is a folder here, .* write ./tiny for the folder"):
        assert kebyt5.load("tiny").config.d_model == 256


def test_an_adapter_of_prompts_is_left_to_peft(checkpoint, tmp_path):
    from peft import PromptTuningConfig, get_peft_model

    folder, _ = checkpoint
    prompts = PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=2)
    get_peft_model(kebyt5.load(folder), prompts).save_pretrained(tmp_path / "prompts")
    with pytest.raises(CheckpointError, match=r"adapter of prompts .* PeftModel\.from_pretrained"):
        kebyt5.load(tmp_path / "prompts")


@pytest.mark.parametrize("gbst", [True, False])
@pytest.mark.parametrize("was_tied", [True, False])
def test_a_head_that_is_tied_or_not_by_an_override_stays_so(tiny_model, tmp_path, gbst, was_tied):
    model = tiny_model(gbst, tie_word_embeddings=was_tied)
    model.save_pretrained(tmp_path / "first")
    overridden = type(model).from_pretrained(tmp_path / "first", tie_word_embeddings=False).eval()
    overridden.save_pretrained(tmp_path / "second")
    batch = {"input_ids": torch.full((1, 9), 50), "labels": torch.full((1, 4), 60)}
    loaded = kebyt5.load(tmp_path / "second")
    torch.testing.assert_close(loaded(**batch).loss, overridden(**batch).loss)
    assert loaded.lm_head.weight is not loaded.shared.weight
