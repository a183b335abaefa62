"""Scores of free text: exact match, chrF and ROUGE."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+")
_ROUGE = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}


class WordTokenizer:
    """A tokenizer for rouge-score that yields lowercase words of any script, without punctuation.

    The tokenizer of rouge-score knows only a to z and 0 to 9 and would drop every Hangul syllable.
    Korean words keep their particles, since there is no agreed tokenizer that splits them; scores
    with another tokenizer are not comparable.
    """

    def tokenize(self, text: str) -> list[str]:
        """Splits a text into words."""
        return _WORD.findall(text.lower())


def scores(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """Computes all scores in percent.

    Args:
        gold: The right texts.
        predicted: The generated texts.

    Returns:
        exact_match: Share of texts that are equal except for blanks at their ends.
        chrf: chrF2 of the whole corpus by sacrebleu, with its defaults.
        rouge_1, rouge_2, rouge_l: F1 by rouge-score over the words of `WordTokenizer`, averaged
            over the texts.

    Raises:
        ValueError: Gold and prediction differ in length.
    """
    # Imported here, since they take seconds to import and few commands need them.
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import CHRF

    pairs = list(zip(gold, predicted, strict=True))
    count = max(1, len(pairs))
    scorer = RougeScorer(list(_ROUGE), tokenizer=WordTokenizer())
    rouge = [scorer.score(wanted, given) for wanted, given in pairs]
    return {
        "exact_match": 100 * sum(g.strip() == p.strip() for g, p in pairs) / count,
        "chrf": CHRF().corpus_score(list(predicted), [list(gold)]).score if pairs else 0.0,
        **{key: 100 * sum(r[kind].fmeasure for r in rouge) / count for kind, key in _ROUGE.items()},
    }
