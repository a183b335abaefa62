"""The benchmarks end to end on the smallest model."""

import json

import pytest

from kebyt5.bench import speed
from kebyt5.bench.examples import KINDS
from kebyt5.bench.speed import Case, bench_speed
from kebyt5.corpus.shards import ShardWriter
from kebyt5.errors import CheckpointError, InputError
from tests.bench.commands import run


@pytest.fixture
def known_start(monkeypatch):
    """Replaces the slow measurement of the first run in a fresh process by constants."""
    monkeypatch.setattr(speed, "in_fresh_process", lambda *_: (1.25, 3 * 2**30))


def test_train_writes_a_page_and_a_plot(tmp_path, capsys, known_start):
    run("train", "--presets", "tiny", "--lengths", 16, 32, "--output-bytes", 8, "--rounds", 1,
        "--alternatives", "transformers-sdpa", "kebyt5-gbst", "--output", tmp_path)  # fmt: skip
    page = (tmp_path / "bench-train.md").read_text()
    assert page.startswith("# Training step\n\n![Training step](bench-train.png)\n")
    for part in (
        "tiny, batch 1, 16 bytes in, 8 out",
        "| Transformers, sdpa |",
        "| kebyt5, GBST |",
        "| *floor, GBST* |",
        "16 to 32",
        "GFLOP/s",
        "| 1.25 | 3.0 |",
        "commit",
    ):
        assert part in page
    assert (tmp_path / "bench-train.png").exists()
    assert "Training step" in capsys.readouterr().out


@pytest.mark.slow
def test_generate_compares_with_ctranslate2(tmp_path):
    run("generate", "--presets", "tiny", "--lengths", 16, "--batch-sizes", 2, "--output-bytes", 4,
        "--rounds", 1, "--alternatives", "ctranslate2-int8", "kebyt5", "--output",
        tmp_path)  # fmt: skip
    page = (tmp_path / "bench-generate.md").read_text()
    assert "| CTranslate2, int8 |" in page
    assert "| ms per byte | total, s | bytes/s | times CTranslate2 int8 |" in page


def test_a_model_to_copy_with_that_is_not_there_is_told_first():
    with pytest.raises(CheckpointError, match="nowhere: no such folder"):
        run("copy", "--presets", "tiny", "--checkpoint", "./nowhere")


@pytest.mark.slow
def test_copies_tell_passes_and_shares(tmp_path):
    run("copy", "--presets", "tiny", "--lengths", 300, "--batch-sizes", 1, "--output-bytes", 32,
        "--rounds", 1, "--alternatives", "transformers-lookup", "kebyt5-gbst-engine",
        "kebyt5-gbst-engine-int8-constrained", "--output", tmp_path)  # fmt: skip
    page = (tmp_path / "bench-copy.md").read_text()
    assert (tmp_path / "bench-copy.png").exists()
    assert page.startswith("# Generation of copies")
    (ours,) = [line for line in page.splitlines() if line.startswith("| kebyt5 engine, GBST |")]
    heads = next(line for line in page.splitlines() if line.startswith("|  | encode")).split("|")
    cells = dict(zip(map(str.strip, heads), map(str.strip, ours.split("|")), strict=True))
    assert float(cells["passes"]) < 32
    assert cells["copied"].endswith("%")
    assert cells["copies accepted"].endswith("%")
    assert "| kebyt5 engine, GBST, int8, constrained |" in page


def test_a_queue_and_passes_make_tables(tmp_path):
    run("queue", "--presets", "tiny", "--requests", 9, "--lengths", 5, 60, "--output-bytes", 3, 6,
        "--rounds", 1, "--output", tmp_path / "queue.md")  # fmt: skip
    page = (tmp_path / "queue.md").read_text()
    assert page.startswith("# A queue of 9 requests, 5 to 60 bytes in, 3 to 6 out")
    assert "| tiny | kebyt5 engine, GBST, int8 |" in page
    run("passes", "--presets", "tiny", "--length", 30, "--rows", 1, 4, "--rounds", 1,
        "--output", tmp_path / "passes.md")  # fmt: skip
    page = (tmp_path / "passes.md").read_text()
    assert "4 rows, ms" in page
    assert "times float32 (range)" in page
    run("kernels", "--presets", "tiny", "--rows", 1, 5, "--rounds", 1,
        "--output", tmp_path / "kernels.md")  # fmt: skip
    page = (tmp_path / "kernels.md").read_text()
    assert "oneDNN, packed, ms" in page
    assert page.count("| tiny | 2.4 |") == 2


def test_examples_of_shards_make_a_table(tmp_path):
    with ShardWriter(tmp_path / "corpus/train/film", "0") as writer:
        writer.write("어제 본 영화는 재미있었다. " * 200)
    run("examples", "--corpus", tmp_path / "corpus", "--rounds", 1, "--output",
        tmp_path / "page.md")  # fmt: skip
    rows = [line.split(" | ") for line in (tmp_path / "page.md").read_text().splitlines()
            if line.startswith("| ")]  # fmt: skip
    assert len(rows) == 2 + len(KINDS)
    assert all(float(row[1]) > 0 for row in rows[2:])


def test_encode_prints_without_writing(tmp_path, monkeypatch, capsys, known_start):
    monkeypatch.chdir(tmp_path)
    run("encode", "--presets", "tiny", "--lengths", 16, "--rounds", 1, "--alternatives",
        "kebyt5-gbst")  # fmt: skip
    assert "Encoding" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_not_run(monkeypatch):
    monkeypatch.setattr(speed, "in_fresh_process", lambda *_: pytest.fail("was run"))
    case = Case("tiny", 1, 16, 8)
    result, *floors = bench_speed("train", ["kebyt5"], [case], rounds=1, memory=2**20).results
    assert result.needs > 2**20
    assert result.rounds == {}
    assert [floor.name for floor in floors] == ["floor, plain", "floor, GBST"]


@pytest.mark.slow
def test_workload_klue_mrc(tmp_path):
    qas = [{"guid": "q", "question": "무엇인가?", "is_impossible": False,
            "answers": [{"text": "가나다", "answer_start": 0}]}]  # fmt: skip
    data = tmp_path / "dev.json"
    paragraphs = [{"context": "가나다", "qas": qas}]
    data.write_text(json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]}))
    run("--workload", "klue-mrc", "--data", data, "--presets", "tiny", "--lengths", 300,
        "--rounds", 1, "--output", tmp_path / "results")  # fmt: skip
    (page,) = (tmp_path / "results").iterdir()
    text = page.read_text()
    assert "KLUE-MRC: 1 of 1 questions" in text
    assert "Synthetic: 300 bytes" in text
    assert "| times, published (A100) | 2.74 | 1.46 |" in text


def test_invalid_options_are_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("KEBYT5_DATA", raising=False)
    with pytest.raises(InputError, match="KEBYT5_DATA"):
        run("--workload", "klue-mrc", "--output", tmp_path)
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        run("--workload", "klue-mrc", "--data", tmp_path / "none.json", "--output", tmp_path)
    with pytest.raises(InputError, match="unknown alternative 'vllm'"):
        run("train", "--alternatives", "vllm")
