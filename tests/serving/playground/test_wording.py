"""What the page says is said in Korean, too."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.serving.playground.wording import LANGUAGES, answer_label, reason_message
from kebyt5.tasks import TASKS, get_task

EXAMPLES = {
    "ynat": {"title": "하늘이 맑다"},
    "ner": {"sentence": "하늘이는 서울에 산다."},
    "dp": {"sentence": "비가 온다.", "words": "비가\t비 가\tNNG+JKS\n온다.\t오 ㄴ다 .\tVV+EF+SF"},
    "mrc": {"question": "어디에 사나?", "context": "하늘이는 서울에 산다."},
    "korquad": {"question": "어디에 사나?", "context": "하늘이는 서울에 산다."},
    "wos": {"dialogue": "사용자: 강남이요."},
    "sts": {"sentence1": "비가 온다.", "sentence2": "비가 내린다."},
    "seq2seq": {"text": "가"},
}
PIECES = st.sampled_from(
    ["", " ", "가", "<", ">", ":PS>", "<하늘이:PS>", "는 서울에 산다.", "1", "9", "\t", "\n", "NP",
     "정치", "숙소-지역-서울", ",", "정답은", "질문", "이다.", "'", '"', "2.5", "없다"]
)  # fmt: skip


@given(st.sampled_from(sorted(EXAMPLES)), st.lists(PIECES, max_size=9).map("".join))
def test_every_reason_why_an_answer_is_malformed_has_its_korean(name, text):
    task = get_task(name)
    _, reason = task.parse(text, task.example(**EXAMPLES[name]))
    if reason is not None:
        assert reason_message(reason, "en") == reason
        assert reason_message(reason, "ko") != reason


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"sts"}))  # whose labels are numbers
def test_every_label_of_a_task_has_words_in_the_language_of_the_page(name):
    for label in get_task(name).labels:
        words = [answer_label(label, language) for language in LANGUAGES]
        assert [bool(re.search("[가-힣]", text)) for text in words] == [True, False]
