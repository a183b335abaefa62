"""`kebyt5 evaluate`: files of predictions, and results that are written before printing."""

import json
from functools import partial

import pytest

from kebyt5.tasks import get_task


@pytest.fixture
def run(run, dev_file):
    return partial(run, "evaluate", "--task", "ner", "--data", dev_file)


@pytest.fixture
def texts(dev_file):
    task = get_task("ner")
    return [task.target_text(example) for example in task.read(dev_file)]


@pytest.fixture
def predictions(tmp_path):
    """Writes a file of predictions."""

    def write(texts):
        path = tmp_path / "texts.txt"
        path.write_text("".join(f"{text}\n" for text in texts))
        return path

    return write


@pytest.mark.usefixtures("no_stdout")
def test_what_cannot_be_printed_is_written_all_the_same(run, predictions, texts, tmp_path):
    with pytest.raises(OSError, match="nothing can be printed"):
        run("--predictions", predictions(texts), "--output", tmp_path / "scores")
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["scores"]["entity_macro_f1"] == 100
    assert (tmp_path / "scores" / "predictions.jsonl").exists()


@pytest.mark.parametrize("count", [2, 6])
def test_of_the_first_examples_predictions_are_enough(run, predictions, texts, count):
    assert len(texts) == 6
    code, out, error = run("--predictions", predictions(texts[:count]), "--limit", 2)
    assert code == 0, error
    assert "2 examples" in out
    assert "100.00" in out


def test_another_number_of_predictions_is_refused_with_a_remedy(run, predictions, texts):
    code, _, error = run("--predictions", predictions(texts[:3]), "--limit", 2)
    assert code == 2
    assert "3 predictions for 6 examples, of which --limit takes 2; give one for each" in error


@pytest.mark.parametrize("option", [("--constrain",), ("--batch-size", 4), ("--noise", 0.1)])
def test_predictions_take_no_options_of_generation(run, predictions, texts, option):
    code, _, error = run("--predictions", predictions(texts), *option)
    assert code == 2
    assert "need a checkpoint, in place of --predictions" in error


def test_an_empty_name_is_refused_as_a_checkpoint(run):
    code, _, error = run("")
    assert code == 2
    assert "the name of the checkpoint is empty" in error


def test_a_path_is_printed_as_it_is(run, predictions, texts, dev_file):
    folder = dev_file.parent / "[bold]" / "x[/x]"
    folder.mkdir(parents=True)
    data = dev_file.rename(folder / "dev.tsv")
    options = ("--task", "ner", "--data", data, "--predictions", predictions(texts))
    code, out, error = run.func("evaluate", *options)
    assert code == 0, error
    assert "[bold]/x[/x]/dev.tsv" in "".join(out.split())


def test_a_baseline_of_a_task_that_has_none_is_refused(run, dev_file):
    options = ("--task", "seq2seq", "--data", dev_file, "--baseline", dev_file)
    code, _, error = run.func("evaluate", "tiny", *options)
    assert code == 2
    assert "the task seq2seq has no trivial baseline" in error
