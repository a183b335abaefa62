"""The published scores have the names of our scores, and sources."""

import pytest

from kebyt5.reporting.published import PUBLISHED, published_scores
from kebyt5.tasks import TASKS, get_task


@pytest.mark.parametrize("name", sorted({figure.task for figure in PUBLISHED}))
def test_figures_have_names_that_the_task_scores(dev_examples, name):
    task = get_task(name)
    examples = dev_examples(name)[:2]
    ours = task.score(examples, [task.target_text(example) for example in examples])
    for figure in published_scores(name):
        assert figure.scores.keys() <= ours.keys() | {"auprc"}
        assert task.main_score in figure.scores
        assert all(0 < score < 100 for score in figure.scores.values())
        assert figure.source.title
        assert figure.source.data


def test_a_model_has_one_figure_from_a_source_for_a_task():
    keys = [(figure.model, figure.task, figure.source) for figure in PUBLISHED]
    assert len(set(keys)) == len(keys)


def test_columns_of_the_table_went_where_they_belong():
    # Two cells of the source, read by eye: first and last column, first and last row.
    (first,) = (f for f in published_scores("ynat") if f.model == "mBERT-base")
    (last,) = (f for f in published_scores("wos") if f.model == "KLUE-RoBERTa-large")
    assert first.scores == {"macro_f1": 81.55}
    assert last.scores == {"jga": 50.22, "slot_f1": 92.23}


def test_tasks_without_figures_have_none():
    assert published_scores("seq2seq") == []
    assert {figure.task for figure in PUBLISHED} <= TASKS.keys()
