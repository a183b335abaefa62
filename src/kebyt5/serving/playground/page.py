"""The page: its layout, its language, and its event handlers."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import gradio as gr

from kebyt5.serving.playground.asking import FILL, Answer, Refusal, ask, fields_of, tasks_of
from kebyt5.serving.playground.drawing import draw_answer, note
from kebyt5.serving.playground.inside import draw_attention, draw_blocks
from kebyt5.serving.playground.samples import SAMPLES
from kebyt5.serving.playground.wording import (
    LANGUAGES,
    Language,
    field_label,
    message,
    refusal_message,
    task_label,
)
from kebyt5.serving.service import LocalService
from kebyt5.tasks import TASKS

VIEWS = {"answer": None, "blocks": None, "attention": "attention.js"}
"""The views of an answer, below the question, each with its script."""

LINES = {"context": 7, "dialogue": 5, "words": 7, "blanks": 2, "sentence": 2, "text": 3}
"""Height in lines of the fields that have more than one."""

KEPT_SECONDS = 3600
"""Seconds for which an answer is kept, so that it can be shown in the other language."""

KEPT_ANSWERS = 100
"""Largest number of pages whose answer is kept; an answer may take five megabytes."""

_MAX_FIELDS = max(len(fields_of(task)) for task in (FILL, *TASKS))


class Parts(NamedTuple):
    """The components of the page that may change."""

    header: gr.HTML
    language: gr.Radio
    model: gr.Dropdown
    task: gr.Dropdown
    remark: gr.HTML
    shown: gr.Textbox
    fields: list[gr.Textbox]
    ask: gr.Button
    sample: gr.Button
    tabs: list[gr.Tab]
    views: list[gr.HTML]
    answer: gr.State


def build(models: Mapping[str, LocalService]) -> gr.Blocks:
    """Builds the playground, to be launched or mounted in another application.

    It loads nothing from other servers and sends no statistics.

    Args:
        models: Services by the name shown on the page; they have to be started before they are
            asked.

    Raises:
        ValueError: `models` is empty.
    """
    if not models:
        raise ValueError("a playground needs at least one model")

    with gr.Blocks(title="kebyt5", analytics_enabled=False) as page:
        parts = _lay_out(models)
    page.state_session_capacity = KEPT_ANSWERS

    def speak(language: Language, model: str, task: str, answer: Any) -> Any:
        names, known = tasks_of(models[model])
        choice = _task_choice(names, language)
        if task not in names:  # otherwise what is chosen meanwhile stays
            choice["value"] = names[0]
        return {
            parts.header: _header(language),
            parts.model: gr.update(label=message("model", language)),
            parts.task: gr.update(**choice),
            parts.remark: _remark(known, language),
            parts.ask: message("ask", language),
            parts.sample: message("sample", language),
            **{
                tab: gr.update(label=message(key, language))
                for tab, key in zip(parts.tabs, VIEWS, strict=True)
            },
            **dict(zip(parts.views, _views(answer, language), strict=True)),
        }

    def answer(language: Language, model: str, task: str, _: Any, *typed: str) -> Any:
        try:
            given = ask(models[model], task, dict(zip(fields_of(task), typed, strict=False)))
        except Refusal as refusal:
            return [_refusal(refusal, language), "", "", None]
        return [*_views(given, language), given]

    state: list[Any] = [parts.language, parts.model, parts.task, parts.answer]
    spoken: list[Any] = [parts.header, parts.model, parts.task, parts.remark, parts.ask]
    spoken += [parts.sample, *parts.tabs, *parts.views]
    form: list[Any] = [parts.shown, *parts.fields]
    seen: list[Any] = [parts.language, parts.task, *form]
    boxes = json.dumps({task: _boxes(task) for task in (FILL, *TASKS)})
    fit = f"({_asset('fields.js')})({boxes})"
    start_over = f"(language, task, _, ...typed) => ({fit})(language, task, '', ...typed.fill(''))"
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    with page:
        greeting = page.load(_language_of, None, parts.language, **quiet)
        choosing = gr.on(
            [parts.language.input, parts.model.input],
            speak,
            state,
            spoken,
            trigger_mode="always_last",
            **quiet,
        )
        for happens in (greeting.then(speak, state, spoken, **quiet).then, choosing.then):
            happens(None, seen, form, js=fit, **quiet)
        parts.task.input(None, seen, form, js=fit, **quiet)
        parts.sample.click(None, seen, form, js=start_over, **quiet)
        gr.on(
            [parts.ask.click, *(field.submit for field in parts.fields)],
            answer,
            [*state, *parts.fields],
            [*parts.views, parts.answer],
            show_progress="minimal",
            api_visibility="private",
            concurrency_limit=1,
            concurrency_id="model",
        )
    return page.queue(max_size=64)


def _lay_out(models: Mapping[str, LocalService]) -> Parts:
    """Lays out all components, with Korean labels."""
    language: Language = "ko"
    first = next(iter(models))
    names, known = tasks_of(models[first])
    gr.HTML(f"<style>{_asset('page.css')}</style>", elem_id="style", apply_default_css=False)
    with gr.Row(elem_id="top"):
        header = gr.HTML(
            _header(language), js_on_load=_asset("theme.js"), apply_default_css=False, scale=4
        )
        languages = [("한국어", "ko"), ("English", "en")]
        chosen = gr.Radio(
            languages, value=language, show_label=False, container=False, elem_id="language"
        )
    with gr.Row(elem_id="question"):
        with gr.Column(scale=2, min_width=240):
            model = gr.Dropdown(
                list(models), value=first, label=message("model", language), elem_id="model"
            )
            task = gr.Dropdown(**_task_choice(names, language), value=names[0], elem_id="task")
            remark = gr.HTML(_remark(known, language), apply_default_css=False)
            shown = gr.Textbox(names[0], visible=False)  # the task whose fields there are
        with gr.Column(scale=5, min_width=320):
            boxes = [box | {"label": box["label"][language]} for box in _boxes(names[0])]
            boxes += [{"visible": False}] * (_MAX_FIELDS - len(boxes))
            fields = [gr.Textbox(elem_id=f"field-{i}", **box) for i, box in enumerate(boxes)]
            with gr.Row(elem_id="actions"):
                asking = gr.Button(message("ask", language), variant="primary", elem_id="ask")
                sample = gr.Button(message("sample", language), elem_id="sample")
    tabs, views = [], []
    with gr.Tabs(elem_id="views"):
        for (key, script), view in zip(VIEWS.items(), _views(None, language), strict=True):
            # Hidden tabs are rendered too, so that scripts and style sheets find their HTML.
            with gr.Tab(message(key, language), id=key, render_children=True) as tab:
                js = _asset(script) if script else None
                views.append(gr.HTML(view, elem_id=key, js_on_load=js, apply_default_css=False))
            tabs.append(tab)
    kept = gr.State(None, time_to_live=KEPT_SECONDS)
    return Parts(
        header, chosen, model, task, remark, shown, fields, asking, sample, tabs, views, kept
    )


def _boxes(task: str) -> list[dict[str, Any]]:
    """Describes the fields of a task: the label in every language, the height, a sample."""
    return [
        {
            "label": {language: field_label(name, language) for language in LANGUAGES},
            "lines": LINES.get(name, 1),
            "value": SAMPLES.get(task, {}).get(name, ""),
        }
        for name in fields_of(task)
    ]


def _task_choice(names: Sequence[str], language: Language) -> dict[str, Any]:
    choices = [(task_label(name, language), name) for name in names]
    return {"label": message("task", language), "choices": choices}


def _views(answer: Answer | None, language: Language) -> list[str]:
    if answer is None:
        return [note(message("nothing yet", language))] * len(VIEWS)
    return [
        draw_answer(answer, language),
        draw_blocks(answer.look, language),
        draw_attention(answer.look, language),
    ]


def _refusal(refusal: Refusal, language: Language) -> str:
    values = dict(refusal.values)
    if "field" in values:
        values["field"] = field_label(values["field"], language)
    if refusal.key == "refused":
        return note(refusal_message(values["reason"], language), "warning")
    return note(message(refusal.key, language, **values), "warning")


def _remark(known: bool, language: Language) -> str:
    return "" if known else note(message("not fine-tuned", language))


def _header(language: Language) -> str:
    return (
        f'<header lang="{language}"><h1>kebyt<b>5</b></h1><p>{message("tagline", language)}</p>'
        f'<button type="button" data-theme>{message("theme", language)}</button></header>'
    )


def _language_of(request: gr.Request) -> Language:
    """Returns English for browsers that prefer it to Korean, Korean for all others."""
    wanted = str(request.headers.get("accept-language", "")).lower()
    places = {place: language for language in ("ko", "en") if (place := wanted.find(language)) >= 0}
    return "en" if places and places[min(places)] == "en" else "ko"


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
