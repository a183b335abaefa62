"""Warm starts keep every tensor; exported folders load where kebyt5 is not installed."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration, T5Model

import kebyt5
from kebyt5 import ByteTokenizer
from kebyt5.models.conversion import add_gbst, export
from kebyt5.quantization.quantize import quantize

IDS = torch.randint(3, 259, (1, 30), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def plain(tiny_model):
    return tiny_model(gbst=False)


def test_warm_start_copies_every_tensor_and_begins_as_mean_pooling(plain):
    model = add_gbst(plain, [1, 2, 3, 6, 9], 3)
    state = model.state_dict()
    for name, tensor in plain.state_dict().items():
        if name != "encoder.embed_tokens.weight":
            assert torch.equal(state[name], tensor), name
    assert model.config.blocks == ((1, 0), (2, 0), (3, 0), (6, 0), (9, 0))
    assert not model.config.tie_word_embeddings
    assert model.encoder.embed_tokens.embeds.weight is model.shared.weight
    # With equal scores a byte becomes the average of its block means, here over bytes.
    scores = model.encoder.embed_tokens.block_weights(torch.zeros(1, 4, 5), torch.ones(1, 4).bool())
    torch.testing.assert_close(scores, torch.full((1, 4, 5), 0.2))
    pooled = plain.shared(IDS).unflatten(1, (-1, 3)).mean(2)
    subwords = model.encoder.embed_tokens(IDS)[0]
    assert torch.cosine_similarity(subwords, pooled, dim=-1).mean() > 0.5


@pytest.mark.parametrize("tied", [False, True])
def test_warm_start_from_a_model_of_transformers(tied):
    config = T5Config(vocab_size=384, d_model=16, d_ff=16, d_kv=4, num_heads=4, num_layers=1,
                      tie_word_embeddings=tied, decoder_start_token_id=0)  # fmt: skip
    theirs = T5ForConditionalGeneration(config)
    if not tied:
        theirs.lm_head.weight = torch.nn.Parameter(torch.randn(384, 16))
    model = add_gbst(theirs)
    assert torch.equal(model.shared.weight, theirs.shared.weight)
    assert torch.equal(model.lm_head.weight, theirs.lm_head.weight)
    assert (model.lm_head.weight is model.shared.weight) == tied


def test_a_part_of_a_model_is_refused():
    with pytest.raises(ValueError, match="T5Model is not a T5 with"):
        add_gbst(T5Model(T5Config(d_model=16, d_ff=16, num_layers=1, vocab_size=384)))


def test_warm_start_is_a_function_of_its_seed(plain):
    first, second, other = (add_gbst(plain, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    name = "encoder.embed_tokens.positional_convol.2.convol.weight"
    assert not torch.equal(first[name], other[name])


def test_a_model_with_gbst_is_not_given_another(tiny_model):
    with pytest.raises(ValueError, match="has GBST already"):
        add_gbst(tiny_model())


WITHOUT_KEBYT5 = """
import sys
class Absent:
    def find_spec(self, name, *args):
        if name.split(".")[0] == "kebyt5":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import torch
from transformers import AutoModel, AutoModelForSeq2SeqLM, AutoTokenizer
folder = sys.argv[1]
model = AutoModelForSeq2SeqLM.from_pretrained(folder, trust_remote_code=True).eval()
ids = AutoTokenizer.from_pretrained(folder)("한국어 byte", return_tensors="pt").input_ids
fast = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
assert type(fast).__name__ == "ByteTokenizer", type(fast)
assert fast("한국어 byte", return_tensors="pt").input_ids.equal(ids)
output = model(input_ids=ids, labels=ids)
generated = model.generate(ids, max_new_tokens=8)
AutoModel.from_pretrained(folder, trust_remote_code=True)
torch.save({"logits": output.logits.detach(), "generated": generated}, folder + "/result.pt")
"""


@pytest.mark.parametrize("change", [torch.nn.Module.eval, quantize], ids=["float32", "int8"])
def test_exported_folder_loads_where_kebyt5_is_not_installed(tiny_model, change, tmp_path):
    model = change(tiny_model())
    folder = tmp_path / "hub"
    folder.mkdir()
    export(model, folder)
    environment = os.environ | {
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
        "HF_HUB_OFFLINE": "1",
    }
    code = textwrap.dedent(WITHOUT_KEBYT5)
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=environment)
    result = torch.load(folder / "result.pt", weights_only=True)
    ids = ByteTokenizer()("한국어 byte", return_tensors="pt").input_ids
    torch.testing.assert_close(result["logits"], model(ids, labels=ids).logits)
    assert torch.equal(result["generated"], model.generate(ids, max_new_tokens=8))
    # And with kebyt5 it is a checkpoint like any other.
    reloaded = kebyt5.load(folder)
    torch.testing.assert_close(reloaded(ids, labels=ids).logits, result["logits"])


def test_exported_plain_model_is_a_t5_to_transformers(plain, tmp_path):
    export(plain, tmp_path)
    model = T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(model(IDS, labels=IDS).logits, plain(IDS, labels=IDS).logits)
    assert type(AutoTokenizer.from_pretrained(tmp_path)).__name__ == "ByT5Tokenizer"
    assert not list(tmp_path.glob("*.py"))
