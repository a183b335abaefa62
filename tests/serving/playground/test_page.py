"""The page without a browser: its texts, its event handlers, its resources."""

import re
import string
from pathlib import Path

import gradio
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import kebyt5.serving.playground as playground
from kebyt5.serving.playground import wording
from kebyt5.serving.playground.asking import FILL, fields_of
from kebyt5.serving.playground.page import KEPT_ANSWERS, build
from kebyt5.serving.playground.wording import LANGUAGES
from kebyt5.tasks import TASKS

FOLDER = Path(playground.__file__).parent
MOST = max(len(fields_of(task)) for task in (FILL, *TASKS))


@pytest.fixture
def page(tiny_model, service_of, monkeypatch):
    monkeypatch.setattr("kebyt5.tasks.ner.NER.max_target_bytes", lambda self, example: 12)
    return build({"one": service_of(tiny_model()), "two": service_of(tiny_model())})


@pytest.fixture
def handlers(page):
    """The event handlers of the page, by name."""
    return {function.name: function.fn for function in page.fns.values()}


def typed(*texts):
    return [*texts, *[""] * (MOST - len(texts))]


def test_a_playground_needs_a_model():
    with pytest.raises(ValueError, match="at least one model"):
        build({})


def test_a_question_is_answered_and_looked_into(handlers):
    answer, blocks, attention, kept = handlers["answer"](
        "ko", "two", "ner", None, *typed("서울에 산다.")
    )
    assert "서울에 산다." in answer
    assert "합의 전" in blocks
    assert "data-weights" in attention
    assert kept.example.inputs == {"sentence": "서울에 산다."}


def test_what_cannot_be_asked_is_said_in_the_language_of_the_page(handlers):
    for language, words in (("ko", "‘가설’ 칸이 비어"), ("en", "“Hypothesis” is empty")):
        warning, *rest = handlers["answer"](language, "one", "nli", None, *typed("비가 온다.", " "))
        assert words in warning
        assert 'class="warning"' in warning
        assert rest == ["", "", None]


@pytest.mark.parametrize(
    ("task", "texts", "korean"),
    [
        ("nsmc", ["가" * 10**6], "입력이 3,000,000바이트입니다. 16,384바이트까지"),
        ("mrc", ["왜? " * 2000, "그래서."], "질문을 줄이세요"),
        ("korquad", ["왜?", "가" * 5000], r"지문이 길어 \d+개 구간으로 .* 128개까지만"),
        (FILL, ["__ <extra_id_0>"], "‘&lt;extra_id_’로 시작하는 표시는 지우세요"),
        (FILL, ["__ <extra_id_x>"], "‘&lt;extra_id_’로 시작하는 표시는 지우세요"),
    ],
)
def test_what_the_server_refuses_is_said_in_the_language_of_the_page(
    task, texts, korean, handlers, monkeypatch
):
    monkeypatch.setattr(TASKS["korquad"], "max_input_bytes", 250)
    said, *_ = handlers["answer"]("ko", "one", task, None, *typed(*texts))
    assert re.search(korean, said)
    assert "서버 메시지" not in said
    said, *_ = handlers["answer"]("en", "one", task, None, *typed(*texts))
    assert not re.search("[가-힣]", said)


def test_other_refusals_are_told_in_the_words_of_the_server():
    assert "(서버 메시지: no such thing)" in wording.refusal_message("no such thing", "ko")


def test_another_language_keeps_the_answer(handlers, page):
    *_, kept = handlers["answer"]("ko", "one", "ner", None, *typed("서울에 산다."))
    updates = handlers["speak"]("en", "one", "ner", kept)
    texts = repr(list(updates.values()))
    assert "Ask the model" in texts
    assert "Before consensus" in texts
    assert "서울에 산다." in texts
    assert "Named entities" in texts
    assert "합의 전" not in texts


def test_another_model_may_be_for_other_tasks(tiny_model, service_of, tmp_path):
    (tmp_path / "config.yaml").write_text("finetune: {task: [ynat]}")
    tuned = service_of(tiny_model())
    tuned.model.name_or_path = str(tmp_path)
    page = build({"any": service_of(tiny_model()), "tuned": tuned})
    speak = next(f.fn for f in page.fns.values() if f.name == "speak")
    updates = speak("en", "tuned", "ner", None)
    (choice,) = (u for u in updates.values() if isinstance(u, dict) and u.get("choices"))
    assert choice["choices"] == [("Topic of a headline", "ynat")]
    assert choice["value"] == "ynat"


# Being mounted


def test_it_can_be_mounted_beside_other_routes(page):
    import gradio

    app = FastAPI()
    app.get("/healthz")(lambda: "fine")
    gradio.mount_gradio_app(app, page, path="/", run_history=False, footer_links=[])
    with TestClient(app) as client:
        assert client.get("/healthz").json() == "fine"
        html = client.get("/").text
    assert "kebyt5" in html
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(https?:[^\"]+)", html)
    assert loaded == []


def test_nothing_is_loaded_from_other_servers():
    for asset in [*FOLDER.glob("*.css"), *FOLDER.glob("*.js")]:
        assert not re.search(r"https?:|@import|url\(", asset.read_text()), asset.name


# Wording


def placeholders(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_both_languages_say_the_same_things():
    for key, (korean, english) in wording._MESSAGES.items():
        assert placeholders(korean) == placeholders(english), key
        assert re.search("[가-힣]", korean), key
        assert not re.search("[가-힣]", english), key


def test_every_saying_is_said():
    source = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py")
                     if path.name != "wording.py")  # fmt: skip
    assert [key for key in wording._MESSAGES if f'"{key}"' not in source and
            f"'{key}'" not in source] == []  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_task_and_field_has_a_name(language):
    for task in (FILL, *TASKS):
        assert wording.task_label(task, language) != task
        for field in fields_of(task):
            assert wording.field_label(field, language) != field
    assert wording.task_label("new", language) == "new"


def test_answers_are_kept_for_so_many_pages_and_no_more(page):
    app = FastAPI()
    gradio.mount_gradio_app(app, page, path="/")
    holder = app.routes[-1].app.state_holder
    assert holder.capacity == KEPT_ANSWERS
    for number in range(KEPT_ANSWERS + 5):
        holder[str(number)]
    assert len(holder.session_data) == KEPT_ANSWERS


def test_the_page_is_mounted_as_the_documentation_shows():
    text = (Path(__file__).parents[3] / "docs" / "playground.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (block,) = [block for block in blocks if "mount_gradio_app" in block]
    names = {}
    exec(block, names)
    try:
        assert "kebyt5" in TestClient(names["app"]).get("/").text
    finally:
        names["service"].worker.stop()
