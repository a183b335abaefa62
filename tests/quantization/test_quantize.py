"""Eight bits keep what a model says, up to a rounding, and survive being saved."""

import copy

import pytest
import torch
from transformers import AutoModel, AutoModelForSeq2SeqLM, AutoModelForTextEncoding

import kebyt5
from kebyt5.generation.engine import Engine
from kebyt5.generation.request import GenerationOptions
from kebyt5.models import int8
from kebyt5.models.conversion import export
from kebyt5.models.int8 import Int8Linear, linear_each, quantize_rows
from kebyt5.quantization.quantize import quantize


def test_products_are_those_of_the_rounded_numbers():
    torch.manual_seed(0)
    linear = torch.nn.Linear(96, 40, bias=False)
    layer, x = Int8Linear.of(linear), torch.randn(5, 96)
    rows = quantize_rows(x)
    rounded = (rows.values.double() - 128) * rows.scale.double()
    expected = rounded @ (layer.weight.double() * layer.scale.double()[:, None]).t()
    torch.testing.assert_close(layer(x).double(), expected, atol=1e-5, rtol=1e-5)
    assert (layer(x) - linear(x)).norm() < 0.02 * linear(x).norm()
    torch.testing.assert_close(layer(x.view(1, 5, 96)), layer(x)[None], rtol=0, atol=0)


def test_a_row_does_not_depend_on_the_others():
    torch.manual_seed(0)
    layer = Int8Linear.of(torch.nn.Linear(96, 40, bias=False))
    x = torch.randn(64, 96) * torch.logspace(-3, 3, 64)[:, None]
    together = layer(x)
    for count in (1, 2, 7, 33):
        assert torch.equal(layer(x[:count]), together[:count])
    assert torch.equal(layer(torch.zeros(1, 96)), torch.zeros(1, 40))


@pytest.fixture
def quantized(tiny_model):
    return quantize(tiny_model())


def test_several_layers_round_the_same_rows_once(monkeypatch):
    layers = [Int8Linear.of(torch.nn.Linear(48, 40, bias=False)) for _ in range(2)]
    x = torch.randn(2, 5, 48)
    expected = [layer(x) for layer in layers]
    calls = []
    real = int8.quantize_rows
    monkeypatch.setattr(int8, "quantize_rows", lambda rows: calls.append(1) or real(rows))
    for found, each in zip(linear_each(layers, x), expected, strict=True):
        assert torch.equal(found, each)
    assert calls == [1]


def test_the_model_says_nearly_the_same(tiny_model, quantized):
    ids = torch.arange(3, 90)[None]
    with torch.no_grad():
        exact = tiny_model()(input_ids=ids, decoder_input_ids=ids[:, :20]).logits
        rounded = quantized(input_ids=ids, decoder_input_ids=ids[:, :20]).logits
    assert 0 < (exact - rounded).norm() < 0.05 * exact.norm()


def test_texts_are_those_of_transformers_up_to_a_rounding(quantized):
    inputs = ["가", "서울에서 부산까지 기차를 탔다.", "b" * 100]
    for slots in (1, 3):
        generated = Engine(quantized, slots).generate(inputs, GenerationOptions(max_new_bytes=30))
        for text, found in zip(inputs, generated, strict=True):
            ids = kebyt5.ByteTokenizer()(text, return_tensors="pt").input_ids
            written = torch.tensor([[0, *found.ids]])
            with torch.no_grad():
                logits = quantized(input_ids=ids, decoder_input_ids=written[:, :-1]).logits[0]
            chosen = logits.gather(1, written[0, 1:, None])[:, 0]
            assert (logits.amax(dim=1) - chosen).max() < 0.1 * logits.std()


def test_a_saved_model_is_small_and_loads_as_it_was(tiny_model, quantized, tmp_path):
    quantized.save_pretrained(tmp_path / "int8")
    tiny_model().save_pretrained(tmp_path / "float")
    loaded = kebyt5.load(tmp_path / "int8")
    assert not loaded.training
    state = loaded.state_dict()
    assert state.keys() == quantized.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in quantized.state_dict().items())
    texts = [Engine(model).generate(["가나다"])[0].text for model in (quantized, loaded)]
    assert texts[0] == texts[1]
    small, large = (
        (tmp_path / name / "model.safetensors").stat().st_size for name in ("int8", "float")
    )
    assert small < large


def test_a_saved_model_loads_by_its_name_on_the_hub(quantized, tmp_path):
    repository = tmp_path / "models--someone--small-int8"
    quantized.save_pretrained(repository / "snapshots" / "0123abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    loaded = kebyt5.load("someone/small-int8", cache_dir=tmp_path, local_files_only=True)
    assert loaded.name_or_path == "someone/small-int8"
    assert torch.equal(loaded.state_dict()["lm_head.weight"], quantized.lm_head.weight)
    assert Engine(loaded).generate(["가나다"]) == Engine(quantized).generate(["가나다"])
    with pytest.raises(kebyt5.CheckpointError, match="someone/none"):
        kebyt5.load("someone/none", cache_dir=tmp_path, local_files_only=True)


@pytest.mark.parametrize("auto_class", [AutoModelForSeq2SeqLM, AutoModel, AutoModelForTextEncoding])
def test_transformers_loads_what_was_saved(quantized, auto_class, tmp_path):
    quantized.save_pretrained(tmp_path)
    loaded = auto_class.from_pretrained(tmp_path)
    expected = quantized.state_dict()
    state = loaded.state_dict()
    assert any(name.endswith("q.scale") for name in state)
    assert all(torch.equal(value, expected[name]) for name, value in state.items())
    ids = torch.arange(3, 60)[None]
    states = [model.get_encoder()(ids).last_hidden_state for model in (quantized, loaded)]
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_eight_bits_stay_what_they_are_whatever_type_is_asked_for(quantized, tmp_path):
    quantized.save_pretrained(tmp_path)
    loaded = kebyt5.load(tmp_path, dtype=torch.bfloat16)
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.int8, torch.float32}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_products_keep_their_scales_whatever_the_rest_is_cast_to(quantized, dtype):
    layer = next(m for m in quantized.modules() if type(m) is Int8Linear)
    x = torch.randn(5, layer.weight.shape[1])
    expected = layer(x)
    cast = copy.deepcopy(layer).to(dtype)
    assert cast.scale.dtype == torch.float32
    torch.testing.assert_close(cast(x), expected, rtol=0, atol=0)


def test_a_plain_model_is_loaded_as_it_was_and_not_exported(tiny_model, tmp_path):
    plain = quantize(tiny_model(gbst=False))
    plain.save_pretrained(tmp_path / "plain")
    loaded = kebyt5.load(tmp_path / "plain").state_dict()
    assert loaded.keys() == plain.state_dict().keys()
    assert all(torch.equal(loaded[name], value) for name, value in plain.state_dict().items())
    with pytest.raises(ValueError, match="export the checkpoint that it was made of"):
        export(plain, tmp_path / "exported")


def test_a_damaged_file_is_refused(quantized, tmp_path):
    from safetensors.torch import load_file, save_file

    quantized.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state.pop("decoder.block.0.layer.0.SelfAttention.q.scale")
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(kebyt5.CheckpointError, match="1 tensors are missing"):
        kebyt5.load(tmp_path)


def test_needs_a_processor(tiny_model):
    with pytest.raises(ValueError, match="need a CPU"):
        quantize(tiny_model().to("meta"))
