"""Published scores to compare runs with, each with its source.

Only scores whose source was available are listed. The result tables on the KEByT5 and GBST-KEByT5
model cards (KLUE TC, NER, DP, MRC, WOS, RE) and in "Towards Korean-centric Token-free Pretrained
Language Model" (HCLT 2023, pp. 711-715) were not available and are missing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """The source of published scores.

    Attributes:
        title: Title of the source.
        url: Address of the source; empty if it has none.
        data: Description of the data that was scored.
        examples: Number of examples in that data; None if it is unknown or the data not public.
    """

    title: str
    url: str
    data: str
    examples: int | None = None


@dataclass(frozen=True)
class PublishedScores:
    """The published scores of one model on one task, in percent, under our names."""

    model: str
    task: str
    scores: dict[str, float]
    source: Source


KLUE_BASELINES = Source(
    "KLUE, table “Baseline Scores” of the repository (Park et al. 2021, arXiv:2105.09680)",
    "https://github.com/KLUE-benchmark/KLUE/blob/3efd98708a40ff49251fddde35453f8fbb11f536/README.md",
    "the test set of KLUE, which is not public",
)
GBST_DP = Source(
    "the published predictions of GBST-KEByT5-base for KLUE-DP, scored with the official metric",
    "",
    "the official dev file of KLUE-DP",
    examples=2000,
)

_KLUE_COLUMNS = (
    ("ynat", "macro_f1"),
    ("sts", "pearson"),
    ("sts", "f1"),
    ("nli", "accuracy"),
    ("ner", "entity_macro_f1"),
    ("ner", "char_macro_f1"),
    ("re", "micro_f1"),
    ("re", "auprc"),
    ("dp", "uas_macro_f1"),
    ("dp", "las_macro_f1"),
    ("mrc", "exact_match"),
    ("mrc", "rouge_w"),
    ("wos", "jga"),
    ("wos", "slot_f1"),
)
# The lines of the table, copied verbatim.
_KLUE_ROWS = """
mBERT-base | 81.55 | 84.66 | 76.00 | 73.20 | 76.50 | 89.23 | 57.88 | 53.82 | 90.30 | 86.66 | 44.66 | 55.92 | 35.46 | 88.63
XLM-R-base | 83.52 | 89.16 | 82.01 | 77.33 | 80.37 | 92.12 | 57.46 | 54.98 | 89.20 | 87.69 | 27.48 | 53.93 | 39.82 | 89.61
XLM-R-large | 86.06 | 92.97 | 85.86 | 85.93 | 82.27 | 93.22 | 58.39 | 61.15 | 92.71 | 88.70 | 35.99 | 66.77 | 41.20 | 89.80
KR-BERT-base | 84.58 | 88.61 | 81.07 | 77.17 | 74.58 | 90.13 | 62.74 | 60.94 | 89.92 | 87.48 | 48.28 | 58.54 | 45.33 | 90.70
koELECTRA-base | 84.59 | 92.46 | 84.84 | 85.63 | 86.11 | 92.56 | 62.85 | 58.94 | 92.90 | 87.77 | 59.82 | 66.05 | 41.58 | 89.60
KLUE-BERT-base | 85.73 | 90.85 | 82.84 | 81.63 | 83.97 | 91.39 | 66.44 | 66.17 | 89.96 | 88.05 | 62.32 | 68.51 | 46.64 | 91.61
KLUE-RoBERTa-small | 84.98 | 91.54 | 85.16 | 79.33 | 83.65 | 91.14 | 60.89 | 58.96 | 90.04 | 88.14 | 57.32 | 62.70 | 46.62 | 91.44
KLUE-RoBERTa-base | 85.07 | 92.50 | 85.40 | 84.83 | 84.60 | 91.44 | 67.65 | 68.55 | 93.04 | 88.32 | 68.67 | 73.98 | 47.49 | 91.64
KLUE-RoBERTa-large | 85.69 | 93.35 | 86.63 | 89.17 | 85.00 | 91.86 | 71.13 | 72.98 | 93.48 | 88.36 | 75.58 | 80.59 | 50.22 | 92.23
"""  # noqa: E501


def published_scores(task: str) -> list[PublishedScores]:
    """Returns the published scores for a task; empty if there are none."""
    return [each for each in PUBLISHED if each.task == task]


def _klue() -> list[PublishedScores]:
    found = []
    for row in _KLUE_ROWS.strip().splitlines():
        model, *cells = (cell.strip() for cell in row.split("|"))
        scores: dict[str, dict[str, float]] = {}
        for (task, score), cell in zip(_KLUE_COLUMNS, cells, strict=True):
            scores.setdefault(task, {})[score] = float(cell)
        found += [
            PublishedScores(model, task, of_task, KLUE_BASELINES)
            for task, of_task in scores.items()
        ]
    return found


PUBLISHED = (
    PublishedScores(
        "GBST-KEByT5-base",
        "dp",
        {
            "uas_macro_f1": 88.34,
            "las_macro_f1": 85.00,
            "uas_micro_f1": 92.03,
            "las_micro_f1": 89.58,
        },
        GBST_DP,
    ),
    *_klue(),
)
