"""The quality tables: which runs they need, that each is done once, and the page."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from kebyt5.bench import quality
from kebyt5.bench.quality import (
    Cell,
    Recipe,
    Table,
    _pretraining,
    available_rows,
    read_recipe,
    select_tables,
)
from kebyt5.bench.quality_report import (
    main_scores,
    report_quality,
    score_table,
    standard_errors,
)
from kebyt5.corpus.shards import ShardWriter
from kebyt5.errors import CheckpointError, InputError
from tests.bench.commands import run
from tests.processes import CONTEXT

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recipe(tmp_path, train_file, dev_file, checkpoint):
    """Two tables on two tasks with a row in common, from shards to scores in seconds."""
    titles = [
        {"guid": f"{n}", "title": f"{'축구 경기' if n % 2 else '증시 하락'} {n}",
         "label": "스포츠" if n % 2 else "경제"}
        for n in range(12)
    ]  # fmt: skip
    (tmp_path / "ynat.json").write_text(json.dumps(titles))
    for split in ("train", "validation"):
        with ShardWriter(tmp_path / "corpus" / split / "film", "0") as writer:
            writer.write("어제 본 영화는 재미있었다. " * 50)
    return {
        "note": "For a test.",
        "finetune": {"freeze": "none", "cycles": 1, "epochs": 1, "eval_examples": 2,
                     "learning_rate": 1e-3},
        "tasks": {
            "ner": {"train": str(train_file), "dev": str(dev_file), "limit": 4,
                    "max_target_bytes": 200},
            "ynat": {"train": str(tmp_path / "ynat.json"), "dev": str(tmp_path / "ynat.json")},
        },
        "pretrain": {"corpus": str(tmp_path / "corpus"), "model": str(checkpoint), "steps": 1,
                     "warmup_steps": 0, "batch_size": 2, "input_length": 64, "peak_tflops": 1.0},
        "seeds_of": {"ner": 1},
        "tables": [
            {"title": "Starts", "tasks": ["ynat", "ner"], "seeds": 2,
             "rows": {"as it is": {"checkpoint": str(checkpoint)},
                      "trained on": {"pretrain": {"seed": 3}}}},
            {"title": "Frozen", "tasks": ["ynat"], "seeds": 2,
             "rows": {"no": {"checkpoint": str(checkpoint)},
                      "yes": {"checkpoint": str(checkpoint), "freeze": "gbst"}}},
        ],
    }  # fmt: skip


def write(recipe, path):
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True))
    return path


def test_every_run_is_made_once(recipe, tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO", "kebyt5")
    monkeypatch.setattr(quality.multiprocessing, "get_context", lambda method: CONTEXT)
    path, folder = write(recipe, tmp_path / "recipe.yaml"), tmp_path / "runs"
    command = ("quality", path, "--runs", folder, "--output", tmp_path / "results")
    run(*command, "--jobs", 2)
    assert "0 runs are done, 8 remain" in caplog.text
    files = sorted((folder / "runs").glob("*.json"))
    # Two rows of two seeds of YNAT and one of NER, and two seeds frozen.
    assert len(files) == 2 * 3 + 2
    assert not list(folder.glob(".run-*"))
    page = (tmp_path / "results" / "klue-small.md").read_text()
    for part in ("![KLUE and NSMC, small](klue-small.png)", "For a test.", "## Starts",
                 "| as it is |", "| trained on |", "| *trivial baseline* |", "## Frozen",
                 "Processor seconds of a run", "1 or 2 seeds", "commit"):  # fmt: skip
        assert part in page
    assert (tmp_path / "results" / "klue-small.png").read_bytes().startswith(b"\x89PNG")

    # Again: nothing is left to do, and the page has the same scores.
    run(*command)
    assert "8 runs are done, 0 remain" in caplog.text
    again = (tmp_path / "results" / "klue-small.md").read_text()
    assert again.split("Runs made")[0] == page.split("Runs made")[0]

    # One setting of one row, and what was lost: only that is run, also where it was killed before.
    recipe["tables"][1]["rows"]["yes"]["freeze"] = "gbst+embedding"
    lost = next((folder / "runs").glob("ner-*"))
    lost.unlink()
    (folder / f".run-{lost.stem}" / "checkpoint-1").mkdir(parents=True)
    shutil.rmtree(tmp_path / "results")
    write(recipe, path)
    run(*command, "--jobs", 1)
    assert "5 runs are done, 3 remain" in caplog.text
    assert not list(folder.glob(".run-*"))


CALL = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from kebyt5.bench.quality import _begin_worker
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, _begin_worker, (1, folder)) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


@pytest.mark.slow
def test_a_killed_call_leaves_no_worker(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "call.py").write_text(CALL)
    call = [sys.executable, str(tmp_path / "call.py"), str(tmp_path)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        worker = psutil.Process(int(process.stdout.readline()))
        process.kill()
    worker.wait(timeout=20)  # raises where it goes on


def test_means_deviations_and_standard_errors():
    part = Table("T", ["ynat"], {"a": {}, "b": {}}, seeds=3)
    results = {
        Cell("T", row, "ynat", seed): {"scores": {"macro_f1": score}, "baseline": None}
        for row, scores in (("a", (50, 52, 54)), ("b", (58, 60, 62)))
        for seed, score in enumerate(scores)
    }
    assert main_scores(part, "a", "ynat", results) == [50, 52, 54]
    # Variance 4 of 3 runs each: the difference has the error sqrt(8 / 3).
    ahead = [58, 60, 62], [50, 52, 54]
    assert standard_errors([ahead]) == pytest.approx(8 / np.sqrt(8 / 3))
    assert standard_errors([([58], [50, 52, 54])]) is None
    # Of two tasks the mean difference is 5, and its error half of sqrt(8 / 3 + 8 / 3).
    assert standard_errors([ahead, ([2, 4, 6], [0, 2, 4])]) == pytest.approx(10 / np.sqrt(16 / 3))
    assert standard_errors([ahead, ([58], [50, 52, 54])]) is None
    _, _, a, b, _ = score_table(part, results)
    assert a == "| a | 52.0 ± 2.0 | 52.0 |"
    assert b == "| b | 60.0 ± 2.0 (+4.9) | 60.0 (+4.9) |"


def test_rows_whose_start_is_not_there_may_be_left_out_and_are_named(recipe, tmp_path):
    recipe["tables"][1]["rows"] = {"tiny": {}, "random": {"checkpoint": "random:kebyt5-tiny"},
                                   "lost": {"checkpoint": str(tmp_path / "no")}}  # fmt: skip
    recipe["tables"].append(
        recipe["tables"][0] | {"title": "Gone", "rows": {"a": {"pretrain": {}}}}
    )
    content = read_recipe(write(recipe, tmp_path / "recipe.yaml"))
    found, left_out = available_rows(content, tmp_path)
    assert [list(table.rows) for table in found.tables] == [["as it is"], ["random", "tiny"]]
    assert left_out == ["Starts: trained on", "Frozen: lost", "Gone: a"]
    assert "not there: Starts: trained on; Frozen: lost; Gone: a." in report_quality(
        Recipe([], {}, {}), {}, left_out
    )
    # What was pretrained for an earlier call is there.
    for folder in found_pretrained(content, tmp_path):
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text("{}")
    assert available_rows(content, tmp_path)[1] == ["Frozen: lost"]
    with pytest.raises(InputError, match="--available: no row"):
        available_rows(Recipe(content.tables[2:], {}, {}), tmp_path / "elsewhere")
    # A run of pretraining that is under way is not there.
    (tmp_path / "no" / "checkpoint-1").mkdir(parents=True)
    assert available_rows(content, tmp_path)[1] == ["Frozen: lost"]


def test_only_some_tables_may_be_made(recipe, tmp_path):
    content = read_recipe(write(recipe, tmp_path / "recipe.yaml"))
    assert [table.title for table in select_tables(content, ["Frozen"]).tables] == ["Frozen"]
    with pytest.raises(InputError, match="the recipe has no table 'Thawed'; it has Starts, Fro"):
        select_tables(content, ["Thawed"])


def found_pretrained(recipe, output):
    rows = [settings for table in recipe.tables for settings in table.rows.values()]
    names = [_pretraining(recipe.pretrain | s["pretrain"])[1] for s in rows if "pretrain" in s]
    return {output / "pretrained" / name for name in names}


def test_the_recipe_of_the_project_is_one(klue_data, monkeypatch):
    monkeypatch.setenv("KEBYT5_DATA", str(klue_data))
    recipe = read_recipe(PROJECT / "scripts" / "quality.yaml")
    for settings in recipe.tasks.values():
        assert all(Path(settings[name]).is_file() for name in ("train", "dev"))
    first = recipe.tables[0]
    assert [len(recipe.seeds(first, task)) for task in ("ner", "dp")] == [3, 1]
    monkeypatch.delenv("KEBYT5_DATA")
    with pytest.raises(InputError, match="variable KEBYT5_DATA is not set"):
        read_recipe(PROJECT / "scripts" / "quality.yaml")


@pytest.mark.parametrize(
    ("change", "problem", "kind"),
    [
        ({"tables": None}, "tables: Input should be a valid list", InputError),
        ({"more": 1}, "unknown option 'more'; known: tables, finetune, tasks", InputError),
        ({"tables": [{"title": "T", "tasks": ["ynat"], "rows": {"a": None}}]},
         r"tables.0.rows.a: Input should be", InputError),
        ({"tables": [{"title": "T", "tasks": ["ynat"], "rows": {"a": {}}, "seeds": 0}]},
         r"tables.0.seeds: Input should be greater", InputError),
        ({"tasks": {"ynat": {"dev": "a"}, "ner": {}}}, "tasks.[a-z]* has no `train:`", InputError),
        ({"finetune": {"learning_rate": "fast"}}, "learning_rate: Input should be", InputError),
        ({"tasks": {}}, "no settings of ynat under", InputError),
        ({"finetune": {"epoch": 1}}, "Starts, as it is, ynat: unknown settings: epoch", InputError),
        ({"finetune": {"epochs": 0}}, "--epochs 0", InputError),
        ({"tables": [{"title": "T", "tasks": ["ner"], "rows": {"a": {"checkpoint": "./no"}}}]},
         r"\./no: no such folder", CheckpointError),
        ({"tables": [{"title": "T", "tasks": ["ner"],
                      "rows": {"a": {"checkpoint": "${NO_SUCH_NAME}/a"}}}]},
         "variable NO_SUCH_NAME is not set", InputError),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_the_first_run(recipe, tmp_path, change, problem, kind):
    path = write(recipe | change, tmp_path / "recipe.yaml")
    with pytest.raises(kind, match=problem):
        run("quality", path, "--runs", tmp_path / "runs", "--output", tmp_path / "results")
    assert not list((tmp_path / "runs").glob("runs/*.json"))
