"""The report contains the results of the runs, in two standalone files."""

import json
import re
from html.parser import HTMLParser

import pytest

from kebyt5.reporting.mistakes import ADDED, MISSING, SAME, Piece
from kebyt5.reporting.report import elide, wdiff, write_report
from kebyt5.reporting.results import read_runs
from kebyt5.tasks import Example, get_task

MADE = {"command": "kebyt5 report", "commit": "abc", "date": "today"}
HOSTILE = "<script>alert(1)</script> | ``` \\ &amp; {{ 7 * 7 }} [x](http://x.y)"


class Page(HTMLParser):
    """Collects the tags, links and text of a page; requires every tag to be closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def report(tmp_path):
    """Writes a report of folders; returns the page, its source, and the Markdown."""

    def write(*folders):
        output = tmp_path / "report"
        output.mkdir()
        write_report(read_runs(folders), output, MADE)
        html = (output / "report.html").read_text(encoding="utf-8")
        return Page(html), html, (output / "report.md").read_text(encoding="utf-8")

    return write


def test_scores_stand_beside_published_ones(report, write_result, headlines, tmp_path):
    texts = ["사회", "경제", "경제"]
    baseline = get_task("ynat").score(headlines, ["사회"] * 3)
    write_result(tmp_path / "mine", "ynat", headlines, texts, baseline=baseline, truncated=2)
    page, _, markdown = report(tmp_path / "mine")
    lines = markdown.splitlines()
    assert r"|  | macro\_f1 | accuracy | unparsed |" in lines
    assert "| **mine** | 66.67 | 66.67 | 0 |" in lines
    assert "| mine: trivial baseline | 40.00 | 66.67 | 0 |" in lines
    assert r"| KLUE-RoBERTa-large \[1\] | 85.69 | – | – |" in lines
    for text in (page.text, markdown):
        assert "arXiv:2105.09680" in text
        assert "the test set of KLUE, which is not public" in text
        assert "mine shortened 2 inputs to its length limit" in text
        assert "predictions.jsonl gives the same scores" in text
        assert "kebyt5 evaluate runs/a --task ynat" in text
        assert "0123abc" in text


def test_labels_and_confusions_of_the_task(report, write_result, headlines, tmp_path):
    write_result(tmp_path / "mine", "ynat", headlines, ["사회", "경제", "경제"])
    page, _, markdown = report(tmp_path / "mine")
    assert "| 경제 | 1 | 2 | 66.67 |" in markdown
    assert "|  | 경제 | 사회 |" in markdown
    assert "| 사회 | 1 | 1 |" in markdown
    assert "[-사회-]{+경제+}" in markdown
    assert page.tags.count("del") == page.tags.count("ins") == 2  # one of each in the legend


def test_many_labels_are_told_by_their_most_frequent_confusions(report, write_result, tmp_path):
    task = get_task("re")
    inputs = dict.fromkeys(task.input_fields, "x")
    examples = [Example(str(i), inputs, label) for i, label in enumerate(task.labels[:15])]
    write_result(tmp_path / "re", "re", examples, ["no_relation"] * 14 + ["org:product"])
    _, html, markdown = report(tmp_path / "re")
    assert r"| org:dissolved | no\_relation | 1 |" in markdown
    assert 'class="matrix many"' in html


def test_means_of_several_runs(report, write_result, headlines, tmp_path):
    write_result(tmp_path / "run" / "seed-0", "ynat", headlines, ["사회"] * 3)
    mean = {"ynat": {"macro_f1": {"mean": 41.234, "std": 0.567}}}
    summary = {"summary": {"runs": ["seed-0", "seed-1"], "tasks": mean}}
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(summary))
    page, _, markdown = report(tmp_path / "run")
    assert (
        "| **run: mean ± standard deviation of 2 runs** | 41.23 ± 0.57 | – | – |"
        in markdown.splitlines()
    )
    assert "41.23 ± 0.57" in page.text


def test_figures_on_another_number_of_examples_do_not_compare(report, write_result, tmp_path):
    task = get_task("dp")
    example = task.example(sentence="서울", words="서울\t서울\tNNP")
    target = "deprel: (1/2, 0, NP)\nword_counts: 1"
    example = Example("1", example.inputs, task.gold_of_target(target, example))
    write_result(tmp_path / "few", "dp", [example], [target])
    write_result(tmp_path / "all", "dp", [example] * 2000, [target] * 2000)
    page, _, _ = report(tmp_path / "few", tmp_path / "all")
    assert re.search(r"on all 2,000 examples of the official dev file .*, few on 1\.", page.text)
    assert "all on 2,000" not in page.text
    assert "[1] compares with runs on the official dev file" in page.text


def test_curves_become_pictures_in_both_files(report, write_result, headlines, tmp_path):
    by_length = [
        {"bytes": [low, high], "examples": 1, "scores": {"macro_f1": 50}}
        for low, high in ((0, 10), (10, None))
    ]
    noise = [{"rate": rate, "scores": {"macro_f1": 9, "unparsed": 0}} for rate in (0, 0.1)]
    write_result(
        tmp_path / "run", "ynat", headlines, ["사회"] * 3, by_length=by_length, noise=noise
    )
    history = [
        {"step": 1, "loss": 2.0},
        {"step": 2, "eval_loss": 1.0, "eval_macro_f1": 40, "eval_runtime": 3},
    ]
    (tmp_path / "run" / "history.json").write_text(json.dumps(history))
    page, _, markdown = report(tmp_path / "run")
    pictures = re.findall(r"!\[.*\]\((.*)\)", markdown)
    assert pictures == ["images/curves-1.png", "images/length-1.png", "images/noise-1.png"]
    for picture in pictures:
        assert (tmp_path / "report" / picture).read_bytes().startswith(b"\x89PNG")
    assert sum(link.startswith("data:image/png;base64,") for link in page.links) == 3


def test_numbers_are_drawn_against_gold(report, write_result, tmp_path):
    inputs = {"sentence1": "가", "sentence2": "나"}
    examples = [Example(str(i), inputs, float(i)) for i in range(3)]
    write_result(tmp_path / "run", "sts", examples, ["0.0", "2.5", "2.0"])
    page, _, markdown = report(tmp_path / "run")
    assert "images/answers-1.png" in markdown
    assert page.tags.count("img") == 1


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(
    report, write_result, headlines, tmp_path
):
    example = Example(HOSTILE, {"text": HOSTILE}, f"{HOSTILE} 좋다")
    write_result(tmp_path / "run", "seq2seq", [example], [f"{HOSTILE} 나쁘다"], data=HOSTILE)
    page, html, markdown = report(tmp_path / "run")
    assert page.text.count(HOSTILE) >= 3
    assert "script" not in page.tags
    assert [link for link in page.links if not link.startswith(("#", "data:"))] == []
    assert "default-src 'none'" in html
    # What is not in a block of its own is escaped.
    outside = re.sub(r"(`{3,})text\n.*?\n *\1\n", "", markdown, flags=re.DOTALL)
    assert "<script>" not in re.sub(r"`{4} .*? `{4}|`{4}.*?`{4}", "", outside)
    assert "49" not in page.text


def test_scores_that_predictions_do_not_give_are_told(report, write_result, headlines, tmp_path):
    folder = write_result(tmp_path / "run", "ynat", headlines, ["사회"] * 3)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["scores"] |= {"accuracy": 99.0, "auprc": 12.0}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    page, _, _ = report(folder)
    assert "does not give the scores of the run: accuracy 66.67 instead of 99.00" in page.text
    assert "does not suffice for auprc" in page.text


def test_scores_alone_make_a_report(report, write_result, headlines, tmp_path):
    folder = write_result(tmp_path / "run", "ynat", headlines, ["사회"] * 3)
    (folder / "predictions.jsonl").unlink()
    page, _, markdown = report(folder)
    assert "no predictions.jsonl" in page.text
    assert "wrong answers" not in markdown


def test_halves_of_surrogate_pairs_do_no_harm(report, write_result, tmp_path):
    example = Example("1", {"text": "가"}, "나")
    folder = write_result(tmp_path / "run", "seq2seq", [example], ["다"])
    path = folder / "predictions.jsonl"
    path.write_text(path.read_text().replace("다", "\\ud800"))
    report(folder)


def test_differences_are_marked():
    pieces = [Piece(SAME, "a "), Piece(MISSING, "{b}"), Piece(ADDED, "c")]
    assert wdiff(pieces) == "a [-{b}-]{+c+}"


def test_long_texts_lose_their_middle():
    assert elide("가" * 9, 9) == "가" * 9
    assert elide("0123456789", 9) == "012 … 789"
