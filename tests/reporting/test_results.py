"""Results are found in all subfolders, and errors name the malformed file."""

import json

import pytest

from kebyt5.errors import InputError
from kebyt5.reporting.results import differences, read_runs
from kebyt5.tasks import Example, get_task
from kebyt5.tasks.squad import Answers


def test_results_summaries_and_curves_are_found_below_a_folder(write_result, headlines, tmp_path):
    texts = ["사회"] * 3
    for seed in (0, 1):
        write_result(tmp_path / "run" / f"seed-{seed}", "ynat", headlines, texts)
    mean = {"ynat": {"accuracy": {"mean": 60, "std": 5}}}
    summary = {"summary": {"runs": ["seed-0", "seed-1"], "tasks": mean}}
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(summary))
    history = [{"step": 10, "loss": 1.5}]
    (tmp_path / "run" / "seed-1" / "history.json").write_text(json.dumps(history))
    write_result(tmp_path / "single", "ynat", headlines, texts)
    runs = read_runs([tmp_path / "single", tmp_path / "run"])
    assert [r.name for r in runs.results] == ["single", "run/seed-0", "run/seed-1"]
    assert [(s.name, s.tasks) for s in runs.summaries] == [("run", mean)]
    assert [(h.name, h.entries) for h in runs.logs] == [("run/seed-1", history)]


def test_a_run_counts_once_however_often_its_folder_is_given(write_result, headlines, tmp_path):
    for name in ("a", "b"):
        write_result(tmp_path / "run" / name, "ynat", headlines, ["사회"] * 3)
        (tmp_path / "run" / name / "history.json").write_text('[{"step": 10, "loss": 1.5}]')
    runs = read_runs([tmp_path / "run", tmp_path / "run" / "a", tmp_path / "run"])
    assert [r.name for r in runs.results] == ["run/a", "run/b"]
    assert [h.name for h in runs.logs] == ["run/a", "run/b"]


def test_what_a_killed_run_left_in_a_hidden_folder_is_no_result(write_result, headlines, tmp_path):
    run = tmp_path / ".runs" / "a"  # only what is hidden below the given folder
    write_result(run, "ynat", headlines, ["사회"] * 3)
    write_result(run / ".incomplete-x", "ynat", headlines, ["사회"] * 3)
    (run / ".incomplete-x" / "history.json").write_text("[]")
    runs = read_runs([run])
    assert [r.name for r in runs.results] == ["a"]
    assert not runs.logs


@pytest.mark.parametrize("name", ["ynat", "ner", "dp", "mrc", "wos", "re", "nli", "sts"])
def test_predictions_give_the_scores_of_the_data_file(dev_examples, name, write_result, tmp_path):
    task = get_task(name)
    examples = dev_examples(name)[:60]
    if name == "mrc":  # several right answers are more than a predictions file tells
        examples = [e for e in examples if len(e.gold.texts) == 1]
    targets = [task.target_text(example) for example in examples]
    texts = [text[: len(text) // 2] if i % 3 else text for i, text in enumerate(targets)]
    write_result(tmp_path / "run", name, examples, texts)
    (result,) = read_runs([tmp_path / "run"]).results
    assert differences(result) == ({}, [])
    assert [e.id for e in result.examples] == [e.id for e in examples]


def test_scores_that_differ_and_scores_that_need_more_are_told(write_result, tmp_path):
    inputs = {"question": "누구?", "context": "세종, 이도"}
    example = Example("1", inputs, Answers(("세종", "이도")))
    write_result(tmp_path / "run", "mrc", [example], ["출력: 이도\n정답임"])
    path = tmp_path / "run" / "metrics.json"
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps(metrics | {"scores": metrics["scores"] | {"auprc": 50}}))
    (result,) = read_runs([tmp_path / "run"]).results
    assert differences(result) == ({"exact_match": 0, "rouge_w": 0}, ["auprc"])


def test_the_data_is_named_where_it_is_a_file_and_not_a_fold(write_result, headlines, tmp_path):
    write_result(tmp_path / "a", "ynat", headlines, ["사회"] * 3, data="dev.json")
    write_result(tmp_path / "b", "ynat", headlines, ["사회"] * 3, data=None)
    (tmp_path / "b" / "config.yaml").write_text("finetune:\n  dev: []\n  folds: 5\n")
    runs = read_runs([tmp_path / "a", tmp_path / "b"])
    assert [result.data for result in runs.results] == ["dev.json", None]


def test_scores_without_predictions_or_targets_are_results_too(write_result, headlines, tmp_path):
    for name in ("none", "bare"):
        write_result(tmp_path / name, "ynat", headlines, ["사회"] * 3)
    (tmp_path / "none" / "predictions.jsonl").unlink()
    record = {"id": "1", "input": {"title": "제목"}, "text": "사회"}
    (tmp_path / "bare" / "predictions.jsonl").write_text(json.dumps(record))
    runs = read_runs([tmp_path / "none", tmp_path / "bare"])
    assert [result.predicted for result in runs.results] == [None, None]


def test_folders_without_results_are_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_runs([tmp_path / "nowhere"])
    (tmp_path / "metrics.json").write_text('{"loss": 1}')
    with pytest.raises(InputError, match=r"no result here; expected a metrics\.json"):
        read_runs([tmp_path])


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("metrics.json", "{", r"metrics\.json:1: not JSON"),
        ("metrics.json", '{"task": "ynat"}', r"metrics\.json: 'scores' is not a mapping"),
        (
            "metrics.json",
            '{"task": "ynta", "scores": {}, "examples": 1}',
            r"metrics\.json: .*did you mean 'ynat'",
        ),
        ("metrics.json", '{"task": "ynat", "scores": {}}', r"metrics\.json: 'examples' is no"),
        (
            "metrics.json",
            '{"summary": {"runs": 1}}',
            r"metrics\.json: 'summary' does not have mean",
        ),
        ("predictions.jsonl", "\n{\n", r"predictions\.jsonl:2: not a prediction"),
        (
            "predictions.jsonl",
            '{"target": "사회"}',
            r"predictions\.jsonl:1: not a prediction.*'text'",
        ),
        ("predictions.jsonl", "3", r"predictions\.jsonl:1: not a prediction"),
        (
            "predictions.jsonl",
            '{"id": "1", "input": {"title": ""}, "text": 1, "target": "사회"}',
            r"predictions\.jsonl:1: not a prediction.*have to be strings",
        ),
        (
            "predictions.jsonl",
            '{"id": "1", "input": {"title": 3}, "text": "", "target": "사회"}',
            r"predictions\.jsonl:1: not a prediction.*fields of 'input'",
        ),
        ("predictions.jsonl", '{"id": "1", "input": "가", "text": "", "target": "사회"}', "not a"),
        ("history.json", "[", r"history\.json:1: not JSON"),
        ("history.json", '[{"loss": 1}]', r"history\.json: entries without a step"),
        ("history.json", '[{"loss": 1, "step": "1"}]', r"history\.json: entries without a step"),
        (
            "metrics.json",
            '{"task": "ynat", "scores": {}, "examples": 1, "made": "x"}',
            "'made' is not a mapping",
        ),
        (
            "metrics.json",
            '{"task": "ynat", "scores": {}, "examples": 1, "by_length": [{"bytes": ["x"]}]}',
            "'by_length' has no bins",
        ),
    ],
)
def test_malformed_files_are_named(write_result, headlines, tmp_path, file, content, problem):
    write_result(tmp_path / "run", "ynat", headlines, ["사회"] * 3)
    (tmp_path / "run" / file).write_text(content)
    with pytest.raises(InputError, match=problem):
        read_runs([tmp_path / "run"])
