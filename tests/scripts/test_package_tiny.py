"""The packaged model is that of the run, in bfloat16, with every source in its card."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
import yaml

import kebyt5
from kebyt5.corpus.shards import ShardWriter
from kebyt5.errors import InputError
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.pretraining.pretrain import pretrain

ROOT = Path(__file__).resolve().parents[2]

spec = importlib.util.spec_from_file_location("package_tiny", ROOT / "scripts/package_tiny.py")
package_tiny = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = package_tiny
spec.loader.exec_module(package_tiny)


def trained(folder, checkpoint, sources, **settings):
    for split in ("train", "validation"):
        for source in sources:
            with ShardWriter(folder / "corpus" / split / source, "0") as writer:
                writer.write("어제 본 영화는 재미있었다. " * 50)
    config = PretrainConfig(
        corpus=folder / "corpus", output=folder / "run", model=str(checkpoint), steps=1,
        warmup_steps=0, batch_size=2, input_length=64, peak_tflops=1.0, **settings,
    )  # fmt: skip
    pretrain(config)
    return folder / "run"


def test_a_run_is_packaged_bit_for_bit_again(tmp_path, checkpoint):
    copies = {"density": 0.2, "copy": 0.1, "early_copy": 0.6, "early_steps": 7}
    first = trained(tmp_path / "1", checkpoint, ["reviews", "statutes"], **copies)
    lookups = {"early_lookup": 0.5, "early_steps": 9}
    run = trained(tmp_path / "2", first, ["reviews", "statutes"], short=0.5, seed=1, **lookups)
    outputs = [tmp_path / "first", tmp_path / "second"]
    for output in outputs:
        package_tiny.package([first, run], output)
    files = [{p.name: p.read_bytes() for p in output.iterdir()} for output in outputs]
    assert files[0] == files[1]
    assert files[0].keys() == {
        "README.md", "config.json", "generation_config.json", "model.safetensors",
    }  # fmt: skip
    model, packaged = kebyt5.load(run), kebyt5.load(outputs[0])
    for name, tensor in model.state_dict().items():
        assert torch.equal(packaged.state_dict()[name], tensor.bfloat16().float())
    card = files[0]["README.md"].decode()
    for part in ("| film reviews | e9t/nsmc | CC0 |", "| Korean statutes | legalize-kr |",
                 "not good for", "blocks of 1, 2, 3, 6 and 9 bytes",
                 "10% of the examples to be copied, 60% at first",
                 "evenly fewer over 7 steps", "Then, from where that ended. Span corruption",
                 "64 ids; 0% of the examples that ask for the words around sentinels, 50% at",
                 "fewer over 9 steps; 50% of the texts end early. 1 steps",
                 "4 examples. None"):  # fmt: skip
        assert part in card


def test_every_source_of_the_corpus_has_a_licence():
    recipe = yaml.safe_load((ROOT / "scripts/corpus/tiny.yaml").read_text())
    assert [source["name"] for source in recipe["sources"]] == list(package_tiny.SOURCES)


def test_what_cannot_be_shipped(tmp_path, checkpoint, monkeypatch):
    with pytest.raises(InputError, match="no finished run"):
        package_tiny.package([checkpoint], tmp_path / "out")
    run = trained(tmp_path, checkpoint, ["novels"])
    with pytest.raises(InputError, match="no licence is known here of novels"):
        package_tiny.package([run], tmp_path / "out")
    monkeypatch.setitem(package_tiny.SOURCES, "novels", ("", "", ""))
    monkeypatch.setattr(package_tiny, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="more than 1,000"):
        package_tiny.package([run], tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))
