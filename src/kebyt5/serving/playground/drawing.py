"""Drawing answers as HTML; everything that comes from a person or a model is escaped."""

import math
from collections.abc import Callable
from html import escape

import numpy as np

from kebyt5.serving.playground.asking import Answer
from kebyt5.serving.playground.tree import draw_tree
from kebyt5.serving.playground.wording import (
    Language,
    answer_label,
    entity_label,
    message,
    reason_message,
)
from kebyt5.tasks.metrics.classification import softmax
from kebyt5.tasks.metrics.dp import MISSING
from kebyt5.tasks.mrc import UNKNOWN

SHOWN_LABELS = 7
"""Number of the likeliest labels with a bar each; the others share one."""


def draw_answer(answer: Answer, language: Language) -> str:
    """Draws an answer in the form that suits its task, and below it the text the model wrote."""
    name = answer.task.name if answer.task else "fill"
    draw = _DRAWINGS.get(name) or (_labels if answer.log_likelihoods is not None else _text)
    parts = [draw(answer, language)]
    if answer.parsed.reason:
        reason = reason_message(answer.parsed.reason, language)
        parts.append(note(message("imperfect", language, reason=reason)))
    if answer.is_shortened:
        parts.append(note(message("shortened", language)))
    if answer.windows > 1:
        parts.append(note(message("windows", language, count=answer.windows)))
    wrote = escape(answer.text) or message("no text", language)
    parts.append(
        f'<details class="raw"><summary>{message("wrote", language)}</summary><pre>{wrote}</pre>'
        "</details>"
    )
    return f'<div class="answer" lang="{language}">{"".join(parts)}</div>'


def note(text: str, kind: str = "note") -> str:
    """Draws a remark; use the kind `warning` where the person has to do something."""
    role = ' role="alert"' if kind == "warning" else ""
    return f'<p class="{kind}"{role}>{escape(text)}</p>'


def _entities(answer: Answer, language: Language) -> str:
    assert answer.task
    sentence = answer.example.inputs["sentence"]
    found = answer.task.to_json(answer.parsed, answer.example)
    parts, end = [], 0
    for entity in found:
        kind = entity["type"]
        parts += [
            escape(sentence[end : entity["start"]]),
            f'<mark class="entity {kind.lower()}">{escape(entity["text"])}'
            f"<small>{escape(entity_label(kind, language))}</small></mark>",
        ]
        end = entity["end"]
    text = f'<p class="reading" lang="ko">{"".join(parts)}{escape(sentence[end:])}</p>'
    return text if found else text + note(message("no entity", language))


def _tree(answer: Answer, language: Language) -> str:
    words = [row.split("\t")[0] for row in answer.example.inputs["words"].split("\n") if row]
    missing = sum(arc == MISSING for arc in answer.parsed.value)
    tree = draw_tree(words, answer.parsed.value)
    return tree + note(message("no arc", language, count=missing)) if missing else tree


def _passage(answer: Answer, language: Language) -> str:
    given, context = answer.parsed.value, answer.example.inputs["context"]
    if given == UNKNOWN:
        passage = f'<p class="reading" lang="ko">{escape(context)}</p>'
        return note(message("unanswerable", language)) + passage
    count = context.count(given) if given.strip() else 0
    pieces = context.split(given) if count else [context]
    mark = f'<mark class="found">{escape(given)}</mark>'
    parts = [
        f'<p class="reading big" lang="ko">{escape(given) or message("no text", language)}</p>',
        f'<p class="reading" lang="ko">{mark.join(map(escape, pieces))}</p>',
    ]
    if count == 0:
        parts.append(note(message("not in passage", language)))
    elif count > 1:
        parts.append(note(message("several places", language, count=count)))
    return "".join(parts)


def _labels(answer: Answer, language: Language) -> str:
    assert answer.task
    assert answer.log_likelihoods is not None
    shares = softmax(answer.log_likelihoods)
    order = np.argsort(-shares, kind="stable")
    shown = order if len(order) <= SHOWN_LABELS + 1 else order[:SHOWN_LABELS]
    rows = [(answer.task.labels[i], float(shares[i])) for i in shown]
    bars = "".join(_bar(_name(row[0], language), row[1], row is rows[0]) for row in rows)
    if rest := len(order) - len(shown):
        name = message("other labels", language, count=rest)
        bars += _bar(f"<i>{escape(name)}</i>", 1 - sum(share for _, share in rows), False)
    return f'<div class="bars">{bars}</div>'


def _name(label: str, language: Language) -> str:
    """The label in words; what the model writes shows under the pointer."""
    return f'<span title="{escape(label)}">{escape(answer_label(label, language))}</span>'


def _similarity(answer: Answer, language: Language) -> str:
    assert answer.task
    assert answer.log_likelihoods is not None
    shares = softmax(answer.log_likelihoods)
    best, most = int(shares.argmax()), float(shares.max())
    columns = "".join(
        f'<i class="{"best" if i == best else ""}" style="--h:{share / most:.4f}"'
        f' title="{answer.task.labels[i]}: {share:.1%}"></i>'
        for i, share in enumerate(shares)
    )
    ticks = "".join(f"<span>{number}</span>" for number in range(6))
    return (
        f'<p class="reading big">{answer.parsed.value:.1f} <small>/ 5.0</small></p>'
        f'<div class="histogram">{columns}</div><div class="ticks">{ticks}</div>'
    )


def _bar(name: str, share: float, is_best: bool) -> str:
    return (
        f'<div class="bar{" best" if is_best else ""}"><span class="name">{name}</span>'
        f'<span class="track"><i style="width:{share:.2%}"></i></span>'
        f'<span class="share">{share:.1%}</span></div>'
    )


def _fillings(answer: Answer, language: Language) -> str:
    best = answer.fillings[0].log_likelihood
    rows = []
    for filling in answer.fillings:
        spans = [f'<mark class="found">{escape(span)}</mark>' for span in filling.spans]
        pieces = map(escape, answer.pieces)
        text = "".join(piece + span for piece, span in zip(pieces, [*spans, ""], strict=True))
        share = math.exp(filling.log_likelihood - best)
        likelihood = message("likelihood", language, value=filling.log_likelihood)
        rows.append(
            f'<li><span class="reading" lang="ko">{text}</span>'
            f'<span class="track"><i style="width:{share:.2%}"></i></span>'
            f'<span class="share">{likelihood}</span></li>'
        )
    return f'<ol class="ranking">{"".join(rows)}</ol>'


def _state(answer: Answer, language: Language) -> str:
    assert answer.task
    state = answer.task.to_json(answer.parsed, answer.example)
    if not state:
        return note(message("no state", language))
    rows = "".join(
        f"<tr><td>{escape(slot)}</td><td>{escape(value)}</td></tr>" for slot, value in state.items()
    )
    head = f"<tr><th>{message('slot', language)}</th><th>{message('value', language)}</th></tr>"
    return f'<table class="state" lang="ko">{head}{rows}</table>'


def _text(answer: Answer, language: Language) -> str:
    assert answer.task
    text = escape(answer.task.show(answer.parsed, answer.example)) or message("no text", language)
    return f'<p class="reading" lang="ko">{text}</p>'


_DRAWINGS: dict[str, Callable[[Answer, Language], str]] = {
    "fill": _fillings,
    "ner": _entities,
    "dp": _tree,
    "mrc": _passage,
    "korquad": _passage,
    "sts": _similarity,
    "wos": _state,
}
"""Tasks with a drawing of their own; other tasks show bars for labels, or plain text."""
