"""The commands end to end; errors are one clear line with exit code 2."""

import json
import logging
import os
import re
import shutil
import sys
from io import BytesIO, TextIOWrapper

import pytest
import torch
import yaml

import kebyt5
from kebyt5.cli import app
from kebyt5.errors import CheckpointError
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.pretraining.start import starting_model
from kebyt5.provenance import source_commit
from kebyt5.quantization.quantize import quantize


@pytest.fixture(autouse=True)
def short_answers(monkeypatch):
    """An untrained model never ends its answer; a low bound keeps the tests fast."""
    monkeypatch.setattr("kebyt5.tasks.ner.NER.max_target_bytes", lambda self, example: 12)


def refused(result, *parts):
    """The command failed with one line that has all these parts."""
    code, _, error = result
    assert code == 2, error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for part in parts:
        assert str(part) in error


# What works


def test_the_commit_is_looked_up_before_a_command_begins(run):
    source_commit.cache_clear()
    assert run("tasks")[0] == 0
    assert source_commit.cache_info().currsize == 1


def test_help_names_every_command_and_its_use(run):
    code, out, _ = run("--help")
    assert code == 0
    commands = [name for name in app if not name.startswith("-")]
    assert len(commands) == 15
    for name in commands:
        assert re.search(rf"│ {name} ", out)
        code, text, _ = run(name, "--help")
        assert code == 0
        assert name == "tasks" or f"kebyt5 {name}" in text


def test_finetune_evaluate_predict(run, checkpoint, train_file, dev_file, tmp_path):
    settings = {
        "task": "ner", "train": str(train_file), "dev": str(dev_file), "epochs": 1,
        "checkpoint": str(checkpoint), "eval_examples": 2, "limit": 8,
    }  # fmt: skip
    preset = tmp_path / "preset.yaml"
    preset.write_text(yaml.safe_dump({"finetune": settings}))
    output = tmp_path / "run"
    code, out, error = run("finetune", "--config", preset, "--output", output, "--limit", 16)
    assert code == 0, error
    assert "entity_macro_f1" in out
    assert "baseline" in out
    resolved = yaml.safe_load((output / "config.yaml").read_text())["finetune"]
    assert resolved["limit"] == 16
    assert resolved["eval_examples"] == 2

    scores = tmp_path / "scores"
    code, out, error = run(
        "evaluate", output, "--task", "ner", "--data", dev_file, "--baseline", train_file,
        "--output", scores,
    )  # fmt: skip
    assert code == 0, error
    metrics = json.loads((scores / "metrics.json").read_text())
    assert metrics["examples"] == 6
    counted = metrics["generation"]
    assert counted["constrained"] is False
    assert counted["bytes"] == counted["decided"] + counted["copied"] + counted["forced"]
    assert f"Generated freely: {counted['bytes']:,} bytes in" in out
    assert len((scores / "predictions.jsonl").read_text().splitlines()) == 6

    code, out, error = run("predict", output, "--task", "ner", "--text", "서울에 간다.")
    assert code == 0, error
    assert out == "서울에 간다.\n"
    assert "Generated freely" in error
    code, out, error = run(
        "predict", output, "--task", "ner", "--text", "서울에 간다.", "--constrain"
    )
    assert code == 0, error
    assert re.sub("<|:[A-Z]{2}>", "", out) == "서울에 간다.\n"
    assert "Generated under the task's constraint" in error


def test_predict_reads_lines_and_writes_json(run, checkpoint, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_bytes("\ufeff첫 문장이다.\r\n\r\n둘째 문장이다.".encode())
    answers = tmp_path / "answers.jsonl"
    code, _, error = run(
        "predict", checkpoint, "--task", "ner", "--input", lines, "--output", answers
    )
    assert code == 0, error
    records = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [record["input"]["sentence"] for record in records] == ["첫 문장이다.", "둘째 문장이다."]
    assert records[0].keys() == {"id", "input", "text", "answer", "unparsed", "generation"}


@pytest.mark.parametrize(
    ("task", "options"), [("ner", ()), ("ner", ("--num-beams", 2)), ("nsmc", ())]
)
def test_answers_alone_are_printed_however_long_it_takes(run, checkpoint, task, options):
    texts = ("--text", "가", "--text", "나", "--text", "다")
    code, out, error = run(
        "predict", checkpoint, "--task", task, *texts, "--batch-size", 2, *options
    )
    assert code == 0, error
    assert len(out.splitlines()) == 3
    assert all(line.strip() for line in out.splitlines())


def test_inputs_come_from_standard_input(run, checkpoint, monkeypatch, caplog):
    lines = "첫 문장이다.\n\n둘째 문장이다.\n"
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(lines.encode())))
    code, out, error = run("predict", checkpoint, "--task", "ner", "--input", "-")
    assert code == 0, error
    assert len(out.splitlines()) == 2
    assert "1 blank inputs were skipped" in caplog.text


def test_what_the_packages_log_is_shown_alone_on_stderr(run, monkeypatch, capsys):
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's
    run("tasks")
    logging.getLogger("kebyt5.bench").info("3 runs remain")
    assert capsys.readouterr() == ("", "3 runs remain\n")


def test_a_pipe_gets_a_line_of_json_for_each_input(run, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    question = json.dumps({"question": "어디에 사나?", "context": "서울에 산다."})
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(f"{question}\n\n{question}\n".encode())))
    options = ("--task", "mrc", "--input", "-", "--output", "-", "--max-new-bytes", 8)
    code, out, error = run("predict", checkpoint, *options)
    assert code == 0, error
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["1", "3"]
    assert not list(tmp_path.glob("-"))


@pytest.mark.parametrize("option", ["--input", "--output"])
def test_an_option_is_no_file(run, tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    texts = ("--text", "가") if option == "--output" else ()
    refused(run("predict", "tiny", "--task", "ner", *texts, option, "--strict"), "--strict: an opt")
    assert not list(tmp_path.iterdir())


def test_answers_do_not_take_the_place_of_inputs_or_of_what_is_no_file(
    run, checkpoint, tmp_path, monkeypatch
):
    lines, pipe, link = tmp_path / "a.txt", tmp_path / "pipe", tmp_path / "link.jsonl"
    lines.write_text("가나다\n")
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "real.jsonl")
    monkeypatch.setattr("kebyt5.models.loading.load", lambda _: pytest.fail("too late"))
    asked = ("predict", checkpoint, "--task", "ner", "--input", lines, "--output")
    refused(run(*asked, lines), lines, "contains the inputs")
    refused(run(*asked, pipe), pipe, "not a regular file")
    refused(run(*asked, tmp_path / "none" / "b.jsonl"), "cannot be written")
    assert lines.read_text() == "가나다\n"
    monkeypatch.undo()
    monkeypatch.setattr("kebyt5.tasks.ner.NER.max_target_bytes", lambda self, example: 12)
    code, _, error = run(*asked, link)
    assert code == 0, error
    assert link.is_symlink()
    assert json.loads((tmp_path / "real.jsonl").read_text())["id"] == "1"


def test_convert_and_export(run, tiny_model, tmp_path):
    from transformers import T5Config

    from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration

    config = T5Config(vocab_size=384, d_model=16, d_ff=16, d_kv=4, num_heads=4, num_layers=1,
                      tie_word_embeddings=False, decoder_start_token_id=0)  # fmt: skip
    KEByT5ForConditionalGeneration(config).save_pretrained(tmp_path / "plain")
    code, _, error = run(
        "convert", tmp_path / "plain", tmp_path / "gbst", "--gbst", "--blocks", "1,2,4:1",
        "--downsample", 2,
    )  # fmt: skip
    assert code == 0, error
    assert kebyt5.load(tmp_path / "gbst").config.blocks == ((1, 0), (2, 0), (4, 1))
    code, _, error = run("export", tmp_path / "gbst", tmp_path / "hub")
    assert code == 0, error
    assert (tmp_path / "hub" / "modeling_gbswt5.py").exists()


def test_merge_averages_checkpoints_and_names_them(run, checkpoint, tmp_path):
    output = tmp_path / "mean"
    code, _, error = run("merge", checkpoint, checkpoint, "--output", output)
    assert code == 0, error
    assert (output / "model.safetensors").exists()
    assert f"| `{checkpoint}` | 0.5 |" in (output / "README.md").read_text()
    assert "kebyt5 merge" in (output / "README.md").read_text()
    code, _, error = run("predict", output, "--task", "ner", "--text", "가")
    assert code == 0, error

    two, new = (checkpoint, checkpoint), ("--output", tmp_path / "new")
    refused(run("merge", *two, "--output", output), output, "not empty")
    refused(run("merge", *two, *new, "--weights", "1,x"), "--weights 1,x")
    refused(run("merge", *two, *new, "--weights", "1"), "1 weights for 2 checkpoints")
    refused(run("merge", checkpoint, *new), "nothing to merge")
    refused(run("merge", *new), "give an adapter's folder or several checkpoints")
    refused(run("merge", checkpoint, "tiny", *new), "tiny: not the architecture", "tensor")
    assert not new[1].exists()


def test_over_long_inputs_are_cut_and_counted(run, checkpoint):
    code, out, error = run(
        "predict", checkpoint, "--task", "ner", "--text", "가나다라마바사", "--max-input-bytes", 40
    )
    assert code == 0
    assert "1 inputs exceeded the limit" in error
    assert out == "가나다라마바사\n"


# What is refused


def test_unknown_names_and_options(run, checkpoint, dev_file):
    refused(run("evaluate", checkpoint, "--task", "nerr", "--data", dev_file), "'nerr'", "'ner'")
    refused(run("finetun"), "finetun")
    refused(run("predict", checkpoint, "--task", "ner", "--txt", "a"), "--txt")
    refused(run("predict", checkpoint, "--task", "ner"), "--text or --input")
    refused(run("tasks", "--config", "nowhere.yaml"), "nowhere.yaml")


@pytest.mark.parametrize("content", ["limit: 3\n", "evaluates:\n  limit: 3\n"])
def test_options_in_no_section_of_the_command_are_refused(run, tmp_path, content):
    path = tmp_path / "options.yaml"
    path.write_text(content)
    refused(run("evaluate", "--config", path, "tiny"), "no section evaluate", content.split(":")[0])


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("가\tO\n나 O\n\n", 2, "character<TAB>tag"),
        ("가\tO\n나\tB-XX\n\n", 2, "B-XX"),
        ("가\tO\n나\n", 2, "character<TAB>tag"),
        (b"\xea\xb0\x80\tO\n\xb0\xa1\tO\n\n", 2, "UTF-8"),
        ("", 1, "no sentence"),
    ],
)
def test_malformed_data_names_file_and_line(run, checkpoint, tmp_path, content, line, problem):
    data = tmp_path / "data.tsv"
    data.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run("evaluate", checkpoint, "--task", "ner", "--data", data)
    refused(result, f"{data}:{line}", problem)


def test_missing_data(run, checkpoint, tmp_path):
    data = tmp_path / "none.tsv"
    refused(run("evaluate", checkpoint, "--task", "ner", "--data", data), data)
    refused(run("predict", checkpoint, "--task", "ner", "--input", data), data)


def test_unusable_checkpoints(run, tmp_path):
    refused(run("predict", tmp_path / "none", "--task", "ner", "--text", "a"), "no such folder")
    refused(run("export", tmp_path, tmp_path / "out"), tmp_path)
    assert not (tmp_path / "out").exists()


def test_eight_bits_where_all_digits_are_needed(
    run, tiny_model, checkpoint, train_file, dev_file, tmp_path
):
    int8, output = tmp_path / "int8", tmp_path / "output"
    quantize(tiny_model()).save_pretrained(int8)
    finetune = ("finetune", "--task", "ner", "--train", train_file, "--dev", dev_file,
                "--checkpoint", int8, "--output", output)  # fmt: skip
    merge = ("merge", checkpoint, int8, "--output", output)
    for command in (finetune, merge, ("convert", int8, output), ("quantize", int8, output)):
        refused(run(*command), int8, "its weights are int8")
        assert not output.exists()
    config = PretrainConfig(corpus=tmp_path, output=output, model=str(int8))
    with pytest.raises(CheckpointError, match="int8"):
        starting_model(config)


def test_unusable_output_folders(run, checkpoint, train_file, dev_file, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "precious.txt").write_text("mine")
    a_file = tmp_path / "file"
    a_file.touch()
    finetune = ("finetune", "--task", "ner", "--train", train_file, "--dev", dev_file,
                "--checkpoint", checkpoint, "--output")  # fmt: skip
    for command in (finetune, ("export", checkpoint), ("convert", checkpoint)):
        refused(run(*command, full), full, "not empty")
        refused(run(*command, a_file), a_file)
        assert [path.name for path in full.iterdir()] == ["precious.txt"]
    nowhere = tmp_path / "no folder" / "out.jsonl"
    refused(
        run("predict", checkpoint, "--task", "ner", "--text", "a", "--output", nowhere), nowhere
    )


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that root cannot write")
def test_unwritable_output_folder(run, checkpoint):
    refused(run("export", checkpoint, "/proc/out"), "/proc/out", "cannot be used")


def test_strict_refuses_over_long_sentences(run, checkpoint, train_file, dev_file, tmp_path):
    result = run("evaluate", checkpoint, "--task", "ner", "--data", dev_file,
                 "--max-input-bytes", 50, "--strict")  # fmt: skip
    refused(result, dev_file, "over the limit of 50")
    result = run("finetune", "--task", "ner", "--train", train_file, "--dev", dev_file,
                 "--output", tmp_path / "run", "--max-target-bytes", 20, "--strict")  # fmt: skip
    refused(result, train_file, "over the limit of 20")
    assert not (tmp_path / "run").exists()


def test_resuming_what_is_no_run_or_another_one(run, checkpoint, train_file, dev_file, tmp_path):
    finetune = ("finetune", "--task", "ner", "--train", train_file, "--dev", dev_file,
                "--checkpoint", checkpoint, "--output", tmp_path / "mine", "--resume")  # fmt: skip
    precious = tmp_path / "mine" / "checkpoint-best" / "model.bin"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    refused(run(*finetune), tmp_path / "mine", "holds no run to resume")
    (tmp_path / "mine" / "config.yaml").write_text("pretrain: {}")
    refused(run(*finetune), tmp_path / "mine", "holds no run to resume")
    settings = {"finetune": {"task": ["ner"], "epochs": 9}}
    (tmp_path / "mine" / "config.yaml").write_text(yaml.safe_dump(settings))
    refused(run(*finetune), "other settings", "epochs")
    assert precious.read_text() == "mine"


def test_malformed_settings_name_file_and_line(run, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("finetune:\n  task: [ner\n")
    refused(run("finetune", "--config", path), f"{path}:3")
    path.write_text("finetune:\n  epochs: 3\n  epochs: 4\n")
    refused(run("finetune", "--config", path), f"{path}:3", "'epochs' is given twice")
    path.write_bytes(b"\xff")
    refused(run("finetune", "--config", path), path)


def test_batch_sizes_that_do_not_divide(
    run, checkpoint, train_file, dev_file, tmp_path, monkeypatch
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    result = run("finetune", "--task", "ner", "--train", train_file, "--dev", dev_file,
                 "--checkpoint", checkpoint, "--output", tmp_path / "run",
                 "--batch-size", 1)  # fmt: skip
    refused(result, "--batch-size 1: not a multiple of 2 devices")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--limit", 0), ("--epochs", 0), ("--batch-size", 0), ("--lora", 0), ("--dropout", 2),
        ("--learning-rate", "nan"), ("--weight-decay", -1), ("--warmup-steps", -3),
        ("--seed", -1), ("--seed", 5_000_000_000_000),
    ],
)  # fmt: skip
def test_numbers_out_of_range(run, train_file, dev_file, tmp_path, option, value):
    result = run("finetune", "--task", "ner", "--train", train_file, "--dev", dev_file,
                 "--output", tmp_path / "run", option, value)  # fmt: skip
    refused(result, option, "has to be")
    assert not (tmp_path / "run").exists()
    result = run("evaluate", "tiny", "--task", "ner", "--data", dev_file, "--batch-size", 0)
    refused(result, "--batch-size 0: has to be 1 or more")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--temperature", 2), "--temperature 2: mixes several tasks, but there is one"),
        (("--fold", 1), "--fold 1: of how many? give --folds as well"),
        (("--lora", 2, "--freeze", "none"), "leave --freeze out"),
    ],
)
def test_options_without_effect(run, train_file, dev_file, tmp_path, options, part):
    result = run("finetune", "--task", "ner", "--train", train_file, "--dev", dev_file,
                 "--output", tmp_path / "run", *options)  # fmt: skip
    refused(result, part)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "option",
    [("--num-beams", 2), ("--max-new-bytes", 9), ("--constrain",)],
    ids=lambda option: option[0],
)
def test_options_of_generation_where_labels_are_scored(run, tmp_path, option):
    data = tmp_path / "nsmc.txt"
    data.write_text("id\tdocument\tlabel\n1\t좋다\t1\n")
    for arguments in (
        ("predict", "tiny", "--task", "nsmc", "--text", "좋다"),
        ("evaluate", "tiny", "--task", "nsmc", "--data", data),
        ("quantize", "tiny", tmp_path / "int8", "--check", "nsmc", data),
    ):
        refused(run(*arguments, *option), option[0], "labels of nsmc are scored", "--decoding")
    if option[0] != "--num-beams":  # of which fine-tuning has none
        files = ("--train", data, "--dev", data, "--output", tmp_path / "run")
        refused(run("finetune", "--task", "nsmc", *files, *option), "labels of nsmc are scored")
    code, *_ = run(
        "predict", "tiny", "--task", "nsmc", "--text", "좋다", "--decoding", "generation", *option
    )
    assert code == 0


def test_examples_to_validate_on_are_given_or_held_out(run, train_file, dev_file, tmp_path):
    asked = ("finetune", "--task", "ner", "--train", train_file, "--output", tmp_path / "run")
    refused(run(*asked), "0 --dev; give one for each --task, or --folds")
    refused(run(*asked, "--dev", dev_file, "--folds", 2), "1 --dev; give none with --folds")


def test_unusable_block_sizes(run, checkpoint, tmp_path):
    refused(run("convert", checkpoint, tmp_path / "out", "--gbst"), "has GBST already")
    refused(run("convert", checkpoint, tmp_path / "out", "--gbst", "--blocks", "1,x"), "1,x")
    for option in (("--blocks", "0,1"), ("--downsample", 2), ("--seed", 1)):
        refused(run("convert", checkpoint, tmp_path / "out", *option), option[0], "give --gbst")
    assert not (tmp_path / "out").exists()


def test_predictions_made_elsewhere_are_scored(run, dev_file, tmp_path):
    from kebyt5.tasks import get_task

    task = get_task("ner")
    texts = [task.target_text(example) for example in task.read(dev_file)]
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(texts) + "\n")
    code, out, error = run("evaluate", "--predictions", path, "--task", "ner", "--data", dev_file)
    assert code == 0, error
    assert "100.00" in out
    refused(run("evaluate", "--task", "ner", "--data", dev_file), "checkpoint or --predictions")


def test_a_report_of_scores(run, dev_file, tmp_path):
    from kebyt5.tasks import get_task

    task = get_task("ner")
    (tmp_path / "texts.txt").write_text(
        "".join(task.target_text(example) + "\n" for example in task.read(dev_file))
    )
    scores, output = tmp_path / "scores", tmp_path / "report"
    run("evaluate", "--predictions", tmp_path / "texts.txt", "--task", "ner", "--data", dev_file,
        "--output", scores)  # fmt: skip
    code, _, error = run("report", scores, "--output", output)
    assert code == 0, error
    assert "| **scores** | 100.00 |" in (output / "report.md").read_text()
    assert str(dev_file) in (output / "report.html").read_text()
    assert "kebyt5 report" in (output / "report.html").read_text()

    refused(run("report", "--output", tmp_path / "new"), "give the output folders of runs")
    refused(run("report", tmp_path / "none", "--output", tmp_path / "new"), "no such folder")
    refused(run("report", output, "--output", tmp_path / "new"), output, "no result here")
    refused(run("report", scores, "--output", output), output, "not empty")
    assert not (tmp_path / "new").exists()


def test_label_tasks_answer_with_a_label(run, checkpoint, tmp_path):
    data = tmp_path / "ynat.json"
    data.write_text(json.dumps([{"guid": "1", "title": "새 전화기 나왔다", "label": "IT과학"}]))
    code, _, error = run(
        "evaluate", checkpoint, "--task", "ynat", "--data", data, "--output", tmp_path / "out"
    )
    assert code == 0, error
    record = json.loads((tmp_path / "out" / "predictions.jsonl").read_text())
    assert record["unparsed"] is None
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["scores"]["unparsed"] == 0


def test_examples_are_shown_as_the_model_sees_them(run, dev_file):
    code, out, error = run("tasks", "show", "ner", "--data", dev_file, "-n", 1)
    assert code == 0, error
    assert "### 입력" in out
    refused(run("tasks", "show", "nerr", "--data", dev_file), "'ner'")


@pytest.mark.parametrize("command", [
    ("export", "no/folder", "out"), ("fill", "<extra_id_0>", "--checkpoint", "no/folder"),
    ("bench", "serve", "no/folder"),
])  # fmt: skip
def test_commands_that_compute_flush_denormal_numbers(run, monkeypatch, command):
    calls = []
    monkeypatch.setattr(torch, "set_flush_denormal", calls.append)
    assert run(*command, "--no-such-option")[0] == 2
    assert True not in calls
    assert run(*command)[0] == 2
    assert True in calls


@pytest.mark.parametrize(
    ("command", "rest"), [("evaluate", ("--data", "{dev}")), ("predict", ("--text", "하늘"))]
)
def test_a_checkpoint_of_another_task_is_told_of(
    run, checkpoint, dev_file, tmp_path, command, rest
):
    folder = tmp_path / "run"
    shutil.copytree(checkpoint, folder)
    (folder / "config.yaml").write_text("finetune: {task: [ynat, nli]}")
    rest = [each.format(dev=dev_file) for each in rest]
    code, _, error = run(command, folder, "--task", "ner", *rest, "--max-new-bytes", 3)
    assert code == 0
    assert f"warning: {folder} was fine-tuned for ynat, nli, not for ner" in error
    (folder / "config.yaml").write_text("finetune: {task: ner}")
    _, _, error = run(command, folder, "--task", "ner", *rest, "--max-new-bytes", 3)
    assert "warning" not in error


def test_the_shipped_model_has_no_task(run):
    code, _, error = run("predict", "tiny", "--task", "ner", "--text", "하늘", "--max-new-bytes", 3)
    assert code == 0
    assert "warning: tiny is pretrained, not fine-tuned for any task" in error
