"""What counts as salient, and how much of it is masked."""

import numpy as np
import pytest

from kebyt5.corpus.shards import Shards, ShardWriter
from kebyt5.pretraining.examples import Examples
from kebyt5.pretraining.salient import SalientSpans, find_by_rule
from tests.pretraining.samples import reconstruct


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1988년 9월 17일에 열렸다", [("1988년 9월 17일", "date")]),
        ("오는 7월 1일 강연", [("7월 1일", "date")]),
        ("2024-03-01 개정", [("2024-03-01", "date")]),
        ("19세기 금요일", [("19세기", "date"), ("금요일", "date")]),
        ("오후 3시 20분에 보자", [("오후 3시 20분", "time")]),
        ("밤 열두시 반, 09:30", [("밤 열두시 반", "time"), ("09:30", "time")]),
        ("사과 12개와 배 세 개", [("12개", "quantity"), ("세 개", "quantity")]),
        (
            "1,234.5원, 3억원, 42.195km",
            [(w, "quantity") for w in ("1,234.5원", "3억원", "42.195km")],
        ),
        ("정답은 42 이다", [("42", "number")]),
        ("2시간 동안", [("2시간", "quantity")]),
        ("제3조제2항", [("3조", "quantity"), ("2항", "quantity")]),
        ("열한시경 두 명이", [("열한시", "time"), ("두 명", "quantity")]),
        (
            "스물다섯 명, 열두 명과 스무 살",
            [(w, "quantity") for w in ("스물다섯 명", "열두 명", "스무 살")],
        ),
        (
            "서른세 번째로 한 시간 동안 두세 개씩을",
            [(w, "quantity") for w in ("서른세 번째", "한 시간", "두세 개")],
        ),
        ("중요한 대화, 이러한 개념, 다양한 장르, 위한 시간, 엄격한시민", []),
        ("한 개인이 한 대학의 한 장면을 한시적으로, 한시도 두시간도", []),
        (
            "세 시 반에, 오후 세 시에, 열두 시부터",
            [(w, "time") for w in ("세 시 반", "오후 세 시", "열두 시")],
        ),
        ("정오에 두 시인이 자정까지", [("정오", "time"), ("자정", "time")]),
        (
            "3만 5천 원, 1억 2천만 원, 3억5천만원, 1만2천여명, 15만여 명, 40여 년",
            [
                (w, "quantity")
                for w in (
                    "3만 5천 원",
                    "1억 2천만 원",
                    "3억5천만원",
                    "1만2천여명",
                    "15만여 명",
                    "40여 년",
                )
            ],
        ),
        (
            "3분기 3분의 2, 3인치 500ml 3세대 2주기 3cm² 7톤 84평 3등급 1등 2학년",
            [
                (w, "quantity")
                for w in (
                    "3분기",
                    "3분의 2",
                    "3인치",
                    "500ml",
                    "3세대",
                    "2주기",
                    "3cm²",
                    "7톤",
                    "84평",
                    "3등급",
                    "1등",
                    "2학년",
                )
            ],
        ),
        (
            "하루에 사흘 동안 열흘은, 하루아침에",
            [(w, "quantity") for w in ("하루", "사흘", "열흘")],
        ),
        (
            "오천 원과 백만 달러, 수십만 명이 이십 년을",
            [(w, "quantity") for w in ("오천 원", "백만 달러", "수십만 명", "이십 년")],
        ),
        ("2~3명이 1980~90년대에", [("2~3명", "quantity"), ("1980~90년대", "quantity")]),
        ("이천 도자기, 사천 요리, 수천에", []),
        ("버전 v2와 abc123", []),
        ("아무것도 없다", []),
    ],
)
def test_rules_find(text, expected):
    assert [(text[begin:end], kind) for begin, end, kind in find_by_rule(text)] == expected


def test_names_come_from_a_function_and_what_begins_first_wins():
    def names(texts):
        return [[(t.index("서울"), t.index("서울") + 7)] if "서울" in t else [] for t in texts]

    found = SalientSpans(names).find(["나는 서울 3번가에 산다 12개", "12개"])
    assert found == [[(3, 10), (14, 17)], [(0, 3)]]


def masked_texts(labels):
    """The spans of a target as texts."""
    spans, span = [], bytearray()
    for i in [*labels[1 : labels.index(1)], 258]:
        if i >= 248:
            spans.append(span.decode(errors="replace"))
            span = bytearray()
        else:
            span.append(i - 3)
    return spans


def examples(folder, document, **options):
    with ShardWriter(folder, "0") as writer:
        writer.write(document)
    return Examples(Shards(folder), 512, salient=SalientSpans(), **options)


def test_no_input_is_longer_than_asked_for(tmp_path):
    document = "그날 12명이 왔고 아무 일도 없이 모두가 조용히 돌아갔다. " * 500
    inputs, labels = examples(tmp_path, document).batch(np.arange(50))
    assert max((row > 0).sum() for row in inputs) <= 512
    assert min((row > 0).sum() for row in inputs) > 400
    assert (labels != -100).sum(axis=1).min() > 5


def test_only_salient_spans_are_masked_up_to_density_and_eleven(tmp_path):
    document = (
        "".join(f"그해 {i}월 {i}일에 사람 {i}명이 왔고 " for i in range(10, 99)) + "끝이다. " * 300
    )
    few = 0
    for inputs, labels in zip(*examples(tmp_path, document).batch(np.arange(200)), strict=True):
        text = reconstruct(inputs.tolist(), labels.tolist()).decode()
        spans = masked_texts(labels.tolist())
        found = [text[begin:end] for begin, end, _ in find_by_rule(text)]
        if not found:
            few += 1
            continue
        assert len(spans) <= 11
        assert set(spans) <= set(found)
        assert len("".join(spans).encode()) <= 0.15 * len(text.encode()) or len(spans) == 1
        assert len(spans) >= min(3, len(found) - 1)
    assert 0 < few < 200  # chunks without anything salient get arbitrary spans
