"""A sample input for each task, written for this page."""

from collections.abc import Mapping

SAMPLES: Mapping[str, Mapping[str, str]] = {
    "fill": {"blanks": "아침에는 __ 마시고 저녁에는 책을 __."},
    "ner": {
        "sentence": "지난 금요일 오후 3시에 이서연 작가가 전주 한옥마을에서 독자 40명을 만났다."
    },
    "dp": {
        "sentence": "동생은 어제 도서관에서 빌린 책을 다 읽었다.",
        "words": "동생은 | 동생 은 | NNG+JX\n어제 | 어제 | MAG\n"
        "도서관에서 | 도서관 에서 | NNG+JKB\n빌린 | 빌리 ㄴ | VV+ETM\n책을 | 책 을 | NNG+JKO\n"
        "다 | 다 | MAG\n읽었다. | 읽 었 다 . | VV+EP+EF+SF",
    },
    "mrc": {
        "question": "등대가 처음 불을 켠 것은 몇 년인가?",
        "context": "솔섬 등대는 1911년에 처음 불을 켰다. 높이는 14미터이며, 지금은 사람이 지키지"
        " 않고 태양광으로 작동한다. 2006년에 새 등명기를 달면서 불빛이 40킬로미터 밖까지 보이게"
        " 되었다.",
    },
    "korquad": {
        "question": "등대의 높이는 얼마인가?",
        "context": "솔섬 등대는 1911년에 처음 불을 켰다. 높이는 14미터이며, 지금은 사람이 지키지"
        " 않고 태양광으로 작동한다.",
    },
    "wos": {
        "dialogue": "사용자: 경주에서 아침을 주는 조용한 숙소를 찾고 있어요.\n"
        "시스템: 몇 분이 언제 묵으시나요?\n사용자: 두 명이고 토요일에 들어가요."
    },
    "re": {
        "sentence": "정하늘은 2011년 대전에서 누리식품을 세웠다.",
        "subject": "누리식품",
        "subject_type": "ORG",
        "object": "정하늘",
        "object_type": "PER",
    },
    "nli": {
        "premise": "비가 와서 아이들은 교실에서 점심을 먹었다.",
        "hypothesis": "아이들은 운동장에서 점심을 먹었다.",
    },
    "sts": {
        "sentence1": "버스가 늦게 와서 회의에 늦었어요.",
        "sentence2": "버스를 오래 기다리느라 회의 시간에 못 맞췄습니다.",
    },
    "nsmc": {"document": "배우들 연기가 좋아서 두 시간이 금방 지나갔다. 또 보고 싶다!"},
    "pawsx": {
        "sentence1": "그는 부산에서 태어나 서울에서 자랐다.",
        "sentence2": "그는 서울에서 태어나 부산에서 자랐다.",
    },
    "ynat": {"title": "새 반도체 공장, 내년 봄부터 시험 생산"},
    "seq2seq": {"text": "어제는날씨가참좋아서공원에갔다."},
}
