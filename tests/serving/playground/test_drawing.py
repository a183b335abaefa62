"""Answers are drawn faithfully, whatever characters they contain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.generation.fill import Filling
from kebyt5.serving.playground.asking import Answer
from kebyt5.serving.playground.drawing import SHOWN_LABELS, draw_answer, note
from kebyt5.serving.playground.wording import LANGUAGES
from kebyt5.tasks import Example, Parsed, get_task
from kebyt5.tasks.metrics.dp import MISSING, Arc
from kebyt5.tasks.mrc import UNKNOWN

SENTENCE = "<b>김하늘</b> & 서울"
TEXTS = st.text("<>&\"'/bxé가나 \n", min_size=1, max_size=20)
KNOWN = {
    "div", "p", "mark", "small", "details", "summary", "pre", "span", "i", "ol", "li", "table",
    "tr", "td", "th", "svg", "g", "path", "rect", "text",
}  # fmt: skip


def answer_of(name, inputs, text, value=None, **more):
    task = get_task(name) if name else None
    example = Example(id="", inputs=inputs)
    parsed = Parsed(value) if task is None or value is not None else task.parse(text, example)
    return Answer(task, example, text, parsed, look=None, **more)


@pytest.mark.parametrize("language", LANGUAGES)
def test_entities_are_marked_in_the_sentence(language, read_html):
    answer = answer_of("ner", {"sentence": SENTENCE}, "<b><김하늘:PS></b> & <서울:LC>")
    page = read_html(draw_answer(answer, language))
    (_, text), *_ = page.find("p", "reading")
    names = {"ko": ("사람", "장소"), "en": ("person", "place")}[language]
    assert text == f"<b>김하늘{names[0]}</b> & 서울{names[1]}"
    assert [mark["class"] for mark, _ in page.find("mark")] == ["entity ps", "entity lc"]


@given(TEXTS, TEXTS)
def test_whatever_is_typed_or_written_stays_text(read_html, typed, written):
    answers = [
        answer_of("ner", {"sentence": typed}, written),
        answer_of("mrc", {"question": typed, "context": typed}, written),
        answer_of("korquad", {"question": typed, "context": typed}, typed[0]),
        answer_of("wos", {"dialogue": typed}, f"{written}={typed}"),
        answer_of("seq2seq", {"text": typed}, written),
        answer_of(
            None, {"blanks": typed}, written, typed + written,
            fillings=(Filling((written,), typed + written, -1.0),), pieces=(typed, ""),
        ),
    ]  # fmt: skip
    for answer in answers:
        page = read_html(draw_answer(answer, "en"))
        assert {tag for tag, _, _ in page.tags} <= KNOWN
        assert page.find("pre")[0][1] == answer.text
        for _, attributes, _ in page.tags:
            assert set(attributes) <= {"class", "lang", "style", "role"}


@pytest.mark.parametrize(
    ("task", "inputs", "texts"),
    [
        ("ner", {"sentence": "서울"}, ["", "<서울:LC", "부산"]),
        ("dp", {"sentence": "나는 간다", "words": "나는\t나는\tNA\n간다\t간다\tNA"},
         ["", "x", "deprel: (1/2, 2, NP)", "deprel: (1/2, 2, NP)▁(2/2, 0, VP)▁(3/3, 0, VP)",
          "deprel: (1/2, 2, NP)▁(2/2, 0, V)", "deprel: (1/2, 2, NP)▁x"]),
        ("mrc", {"question": "왜?", "context": "그래서"},
         ["", "그래서\n정답임", "출력: 그래서", "출력: 저래서\n, 새 정답: 그래서"]),
        ("wos", {"dialogue": "사용자: 안녕"}, [" ", "호텔"]),
        ("sts", {}, ["", "높음", "3.75점"]),
        ("nli", {}, ["", "중릅"]),
        ("korquad", {"question": "왜?", "context": "그래서"}, [""]),
        ("seq2seq", {"text": "가"}, [""]),
    ],
)  # fmt: skip
def test_why_an_answer_is_malformed_is_said_in_the_language_of_the_page(
    task, inputs, texts, read_html
):
    likelihoods = np.zeros(len(get_task(task).labels)) if get_task(task).labels else None
    for text in texts:
        answer = answer_of(task, inputs, text, log_likelihoods=likelihoods)
        start = answer.parsed.reason.split("'")[0].strip()
        said = {}
        for language in LANGUAGES:
            notes = read_html(draw_answer(answer, language)).find("p", "note")
            said[language] = "".join(note for _, note in notes)
        assert start in said["en"]
        assert start not in said["ko"]


def test_the_answer_is_marked_wherever_the_passage_has_it(read_html):
    inputs = {"question": "어디?", "context": "서울에서 서울로"}
    page = read_html(draw_answer(answer_of("korquad", inputs, "서울"), "en"))
    assert [text for _, text in page.find("mark", "found")] == ["서울", "서울"]
    assert [text for _, text in page.find("p", "reading")] == ["서울", "서울에서 서울로"]
    assert "2 times" in page.text


def test_an_answer_that_the_passage_lacks_is_said_to_be_so(read_html):
    inputs = {"question": "어디?", "context": "서울에서"}
    page = read_html(draw_answer(answer_of("korquad", inputs, "부산"), "en"))
    assert "does not contain this answer" in page.text
    assert not page.find("mark")
    unknown = answer_of("mrc", inputs, f"출력: {UNKNOWN}\n정답임")
    assert "지문에 답이 없다" in read_html(draw_answer(unknown, "ko")).text
    empty = read_html(draw_answer(answer_of("korquad", inputs, ""), "en"))
    assert not empty.find("mark")
    assert "(no text)" in empty.text


def test_labels_have_bars_of_their_share(read_html):
    likelihoods = np.log([0.2, 0.5, 0.3])
    answer = answer_of("nli", {}, "중립", log_likelihoods=likelihoods - 7)
    page = read_html(draw_answer(answer, "ko"))
    assert [text for _, text in page.find("div", "bar")] == [
        "중립50.0%", "모순30.0%", "함의20.0%",
    ]  # fmt: skip
    assert [text for _, text in page.find("div", "best")] == ["중립50.0%"]
    english = draw_answer(answer, "en")
    assert [text for _, text in read_html(english).find("div", "best")] == ["neutral50.0%"]
    assert 'title="중립"' in english  # what the model writes shows under the pointer


def test_many_labels_share_a_bar(read_html):
    likelihoods = np.linspace(-3, 0, 30)
    answer = answer_of("re", {}, "per:title", log_likelihoods=likelihoods)
    page = read_html(draw_answer(answer, "en"))
    texts = [text for _, text in page.find("div", "bar")]
    assert len(texts) == SHOWN_LABELS + 1
    assert texts[0].startswith("title")
    assert f"{30 - SHOWN_LABELS} other labels" in texts[-1]
    shares = [float(text.rstrip("%")) for _, text in page.find("span", "share")]
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_a_similarity_is_a_number_and_a_histogram(read_html):
    likelihoods = np.full(51, -9.0)
    likelihoods[42] = -0.1
    answer = answer_of("sts", {}, "4.2", log_likelihoods=likelihoods)
    page = read_html(draw_answer(answer, "ko"))
    assert page.find("p", "big")[0][1] == "4.2 / 5.0"
    columns = page.find("div", "histogram")
    assert len(columns) == 1
    (best,) = page.find("i", "best")
    assert best[0]["style"] == "--h:1.0000"


def test_fillings_are_ranked(read_html):
    fillings = (
        Filling(("커피를", "읽는다"), "아침에 커피를 저녁에 읽는다.", -2.0),
        Filling(("물을", "본다"), "아침에 물을 저녁에 본다.", -2.0 - np.log(4)),
    )
    answer = answer_of(
        None, {"blanks": "아침에 __ 저녁에 __."}, "", fillings[0].text,
        fillings=fillings, pieces=("아침에 ", " 저녁에 ", "."),
    )  # fmt: skip
    page = read_html(draw_answer(answer, "en"))
    rows = page.find("li")
    assert [text.partition("log")[0] for _, text in rows] == [each.text for each in fillings]
    assert "log likelihood -2.00" in rows[0][1]
    widths = [tag[1]["style"] for tag in page.tags if tag[0] == "i"]
    assert widths == ["width:100.00%", "width:25.00%"]


def test_a_state_is_a_table(read_html):
    answer = answer_of("wos", {"dialogue": ""}, "숙소-요일=토요일▁숙소-지역=경주=남쪽")
    page = read_html(draw_answer(answer, "en"))
    assert [text for _, text in page.find("td")] == [
        "숙소-요일",
        "토요일",
        "숙소-지역",
        "경주=남쪽",
    ]
    nothing = read_html(draw_answer(answer_of("wos", {"dialogue": ""}, "없음"), "ko"))
    assert "요청한 조건이 없습니다" in nothing.text


def test_arcs_that_could_not_be_read_are_counted(read_html):
    words = "나는\t나 는\tNP+JX\n간다\t가 ㄴ다\tVV+EF"
    value = (Arc(2, "NP_SBJ"), MISSING)
    answer = answer_of("dp", {"sentence": "", "words": words}, "?", value)
    page = read_html(draw_answer(answer, "en"))
    assert "heads of 1 words" in page.text
    assert len(page.find("g", "arc")) == 1


def test_an_answer_that_is_not_in_form_says_why(read_html):
    page = read_html(draw_answer(answer_of("ner", {"sentence": "서울"}, "부산"), "en"))
    assert "the sentence was changed" in page.text
    assert "No entity was found" in page.text


def test_several_windows_are_said(read_html):
    inputs = {"question": "", "context": "서울"}
    answer = answer_of("korquad", inputs, "서울", windows=3)
    assert "3 windows" in read_html(draw_answer(answer, "en")).text


def test_warnings_are_announced():
    assert 'role="alert"' in note("<stop>", "warning")
    assert "&lt;stop&gt;" in note("<stop>", "warning")
    assert "role" not in note("fine")
