"""The plots of a run."""

import pytest

from kebyt5.evaluation.plots import learning_curves, robustness_curves

BINS = [
    {"bytes": [0, 64], "examples": 3, "scores": {"accuracy": 90.0}},
    {"bytes": [64, None], "examples": 1, "scores": {"accuracy": 50.0}},
]
RATES = [{"rate": rate, "scores": {"accuracy": 80 - 100 * rate}} for rate in (0.0, 0.1)]


def curves(axes) -> dict[str, list[tuple[float, float]]]:
    return {line.get_label(): [tuple(p) for p in line.get_xydata()] for line in axes.get_lines()}


def test_losses_and_the_score_that_counts_are_drawn():
    history = [
        {"step": 1, "loss": 2.0},
        {"step": 2, "loss": 1.0},
        {"step": 2, "eval_loss": 1.5, "eval_runtime": 3.0},
        {"step": 2, "eval_macro_f1": 40.0, "eval_accuracy": 50.0, "eval_main_score": 40.0},
    ]
    losses, scores = learning_curves(history, {"ynat": "macro_f1"}).axes
    assert curves(losses) == {"training": [(1, 2), (2, 1)], "validation": [(2, 1.5)]}
    assert curves(scores) == {"macro_f1": [(2, 40)]}


def test_of_several_tasks_each_score_and_their_mean_are_drawn():
    entry = {"eval_ynat_macro_f1": 40.0, "eval_ynat_accuracy": 50.0, "eval_nli_accuracy": 60.0}
    history = [{"step": 4, **entry, "eval_main_score": 50.0}]
    _, scores = learning_curves(history, {"ynat": "macro_f1", "nli": "accuracy"}).axes
    assert curves(scores).keys() == {"ynat_macro_f1", "nli_accuracy", "main_score"}


@pytest.mark.parametrize(
    ("metrics", "drawn"),
    [
        ({"by_length": BINS, "noise": RATES}, [[(0, 80), (10, 70)], [(0, 90), (1, 50)]]),
        ({"by_length": BINS}, [[(0, 90), (1, 50)]]),
        ({"by_length": BINS[:1], "noise": RATES}, [[(0, 80), (10, 70)]]),
    ],
)
def test_a_score_falls_with_noise_and_length(metrics, drawn):
    figure = robustness_curves(metrics, "accuracy")
    shown = [curves(axes)["accuracy"] for axes in figure.axes if axes.get_lines()]
    assert shown == drawn


def test_a_single_point_is_no_curve():
    assert robustness_curves({"by_length": BINS[:1], "noise": None}, "accuracy") is None
