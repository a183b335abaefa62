"""The texts of the playground, in Korean and in English."""

from typing import Literal, get_args

Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_MESSAGES: dict[str, tuple[str, str]] = {
    "tagline": (
        "토큰 없이 바이트로 읽고 쓰는 한국어 모델",
        "A Korean model that reads and writes bytes, not tokens",
    ),
    "language": ("언어", "Language"),
    "theme": ("밝게 · 어둡게", "Light · dark"),
    "model": ("모델", "Model"),
    "task": ("과제", "Task"),
    "ask": ("물어보기", "Ask the model"),
    "sample": ("예문 넣기", "Insert an example"),
    "answer": ("답", "Answer"),
    "blocks": ("GBST가 읽는 방식", "How GBST reads it"),
    "attention": ("모델이 보는 곳", "Where the model looks"),
    "nothing yet": (
        "위에 글을 입력하고 ‘물어보기’를 누르세요.",
        "Type something above and press “Ask the model”.",
    ),
    "not fine-tuned": (
        "어떤 과제로 미세조정했는지 기록되지 않은 체크포인트입니다. 답이 무의미할 수 있습니다.",
        "This checkpoint does not say what it was fine-tuned for; its answers may be meaningless.",
    ),
    # Refusals.
    "empty": (
        "‘{field}’ 칸이 비어 있습니다. 내용을 입력하세요.",
        "“{field}” is empty; type something.",
    ),
    "huge": (
        "입력이 {size:,}바이트입니다. 이 화면에서는 {limit:,}바이트까지 입력할 수 있습니다. 글을"
        " 줄이거나 `kebyt5 predict`를 사용하세요.",
        "The input has {size:,} bytes, but this page accepts at most {limit:,}. Shorten it, or use"
        " `kebyt5 predict`.",
    ),
    "no blank": (
        "빈칸이 없습니다. 채울 자리에 밑줄 두 개(__)를 쓰세요.",
        "There is no blank; write two underscores (__) where the model should fill one.",
    ),
    "many blanks": (
        "빈칸이 {count}개입니다. 한 번에 {limit}개까지 채울 수 있으니 글을 나누어 물어보세요.",
        "There are {count} blanks, but at most {limit} can be filled; divide the text.",
    ),
    "columns": (
        "{number}번째 줄에 칸이 {columns}개 있습니다. ‘어절 | 형태소 | 품사’ 세 칸으로 나누어"
        " 쓰세요.",
        "Line {number} has a wrong number of columns ({columns}); write word | lemmas | tags.",
    ),
    "failed": (
        "서버에 문제가 생겼습니다. 원인은 서버의 로그에 있습니다.",
        "Something went wrong on the server; its log has the reason.",
    ),
    "busy": (
        "지금 요청이 밀려 있습니다. 잠시 뒤에 다시 물어보세요.",
        "The model is busy; try again in a moment.",
    ),
    "late": (
        "제한 시간 안에 답하지 못했습니다. 글을 줄이거나 잠시 뒤에 다시 물어보세요.",
        "There was no answer in time; shorten the text, or try again later.",
    ),
    "refused": ("받을 수 없는 입력입니다: {reason}", "The model cannot be asked this: {reason}"),
    # Answers.
    "no entity": ("개체명을 찾지 못했습니다.", "No entity was found."),
    "no state": ("사용자가 아직 정한 것이 없습니다.", "The user wants nothing in particular yet."),
    "slot": ("슬롯", "Slot"),
    "value": ("값", "Value"),
    "not in passage": (
        "이 답은 지문에 그대로 나오지 않습니다.",
        "The passage does not contain this answer word for word.",
    ),
    "several places": (
        "이 답은 지문에 {count}번 나옵니다. 모두 표시했습니다.",
        "The passage contains this answer {count} times; all are marked.",
    ),
    "unanswerable": (
        "모델은 지문에 답이 없다고 합니다.",
        "The model says that the passage does not answer the question.",
    ),
    "no text": ("(내용 없음)", "(no text)"),
    "no arc": (
        "어절 {count}개의 지배소를 읽지 못했습니다.",
        "The heads of {count} words could not be read.",
    ),
    "imperfect": (
        "모델의 출력이 정해진 형식과 달라 읽을 수 있는 만큼 해석했습니다: {reason}",
        "The model's output is malformed and was interpreted as well as possible: {reason}",
    ),
    "wrote": ("모델이 쓴 그대로", "The model's output as written"),
    "likelihood": ("로그 가능도 {value:.2f}", "log likelihood {value:.2f}"),
    "other labels": ("그 밖의 라벨 {count}개", "{count} other labels"),
    "shortened": (
        "입력이 길어서 모델이 일부만 읽었습니다.",
        "The input is too long; the model read only a part of it.",
    ),
    "windows": (
        "지문을 {count}개 구간으로 나누어 읽었습니다. 다른 탭의 그림은 첫 구간만 나타냅니다.",
        "The passage was read in {count} windows; the other tabs show the first.",
    ),
    # GBST.
    "no gbst": (
        "이 모델에는 GBST가 없습니다. 바이트 하나가 인코더의 한 위치입니다.",
        "This model has no GBST: each byte is one position of its encoder.",
    ),
    "about blocks": (
        "GBST는 바이트마다 여러 크기의 블록에서 구한 평균을 섞습니다. 칸이 진할수록 그 블록의"
        " 가중치가 큽니다. 한 블록에 속하는 칸은 이어져 있습니다.",
        "At each byte GBST mixes the means of blocks of several sizes. The stronger the colour of a"
        " cell, the larger the weight of its block; cells of one block are joined.",
    ),
    "before": ("합의 전: 바이트마다 따로 고른 가중치", "Before consensus: each byte's own choice"),
    "after": ("합의 후: 모델이 실제로 섞는 가중치", "After consensus: the weights the model uses"),
    "block": ("{size}바이트", "{size} bytes"),
    "one byte": ("1바이트", "1 byte"),
    "segments": ("분절", "segments"),
    "bytes": ("바이트", "bytes"),
    "mean": ("평균 가중치", "mean weight"),
    "scale": ("가중치", "weight"),
    "about segments": (
        "맨 아래 줄은 가중치의 합이 가장 큰 분절입니다. 바이트의 {agreement:.0%}가 이 분절의 블록을"
        " 고르는 셈입니다. 이 비율은 모든 블록의 가중치가 같다면 {chance:.0%}이고, 바이트마다 가장"
        " 선호하는 블록을 고를 수 있다 해도 최대 {most:.0%}입니다.",
        "The last row is the segmentation with the largest total weight. In effect {agreement:.0%}"
        " of the bytes choose its blocks; it would be {chance:.0%} if all blocks weighed the same,"
        " and at most {most:.0%} if each byte could choose its favourite block.",
    ),
    "positions": (
        "{length}바이트가 인코더 위치 {count}개로 모입니다({factor}바이트에 하나).",
        "{length} bytes become {count} encoder positions, one for every {factor} bytes.",
    ),
    "beginning": (
        "처음 {count:,}바이트만 그렸습니다.",
        "Only the first {count:,} bytes are drawn.",
    ),
    # Cross-attention.
    "about attention": (
        "아래 출력에서 글자를 고르면, 그 글자를 쓸 때 디코더가 입력의 어디를 보았는지 표시됩니다."
        " 모든 층과 헤드의 평균이며, 한 위치로 모인 바이트는 그 가중치를 똑같이 나눕니다.",
        "Choose a character of the output to see where in the input the decoder looked while it"
        " wrote it: the mean of all layers and heads. Bytes pooled to one position share its"
        " weight equally.",
    ),
    "output": ("출력", "Output"),
    "input": ("입력", "Input"),
    "too long to attend": (
        "출력은 처음 {output:,}바이트, 입력은 처음 {input:,}바이트까지만 표시됩니다.",
        "Only the first {output:,} bytes of the output and {input:,} of the input are shown.",
    ),
}

_FIELDS: dict[str, tuple[str, str]] = {
    "sentence": ("문장", "Sentence"),
    "words": (
        "어절 | 형태소 | 품사 (한 줄에 한 어절, 비우면 분석 없이 처리)",
        "Word | lemmas | tags (one word per line; leave blank for no analysis)",
    ),
    "question": ("질문", "Question"),
    "context": ("지문", "Passage"),
    "dialogue": ("대화", "Dialogue"),
    "subject": ("주체", "Subject"),
    "subject_type": ("주체 유형", "Subject type"),
    "object": ("객체", "Object"),
    "object_type": ("객체 유형", "Object type"),
    "premise": ("전제", "Premise"),
    "hypothesis": ("가설", "Hypothesis"),
    "sentence1": ("문장 1", "Sentence 1"),
    "sentence2": ("문장 2", "Sentence 2"),
    "document": ("영화 평", "Film review"),
    "title": ("기사 제목", "Headline"),
    "text": ("글", "Text"),
    "blanks": ("빈칸(__)이 있는 글", "Text with blanks (__)"),
}

_TASKS: dict[str, tuple[str, str]] = {
    "fill": ("빈칸 채우기", "Fill the blanks"),
    "ynat": ("기사 주제 분류", "Topic of a headline"),
    "ner": ("개체명 인식", "Named entities"),
    "dp": ("의존 구문 분석", "Dependency parsing"),
    "mrc": ("기계 독해 (답이 없을 수 있음)", "Reading comprehension (may be unanswerable)"),
    "wos": ("대화 상태 추적", "Dialogue state"),
    "re": ("관계 추출", "Relation of two entities"),
    "nli": ("자연어 추론", "Natural language inference"),
    "sts": ("문장 유사도", "Similarity of two sentences"),
    "nsmc": ("영화 평 감성 분석", "Sentiment of a film review"),
    "pawsx": ("바꿔 쓴 문장 판별", "Paraphrase detection"),
    "korquad": ("기계 독해", "Reading comprehension"),
    "seq2seq": ("자유 형식 변환", "Free text to text"),
}

_ENTITY_TYPES: dict[str, tuple[str, str]] = {
    "PS": ("사람", "person"),
    "LC": ("장소", "place"),
    "OG": ("기관", "organisation"),
    "DT": ("날짜", "date"),
    "TI": ("시간", "time"),
    "QT": ("수량", "quantity"),
}

_REASONS: dict[str, str] = {
    "empty": "비어 있음",
    "repaired": "가장 가까운 답으로 고침",
    "unbalanced mark": "표시의 짝이 맞지 않음",
    "the sentence was changed": "문장이 바뀜",
    "only the beginning": "문장의 앞부분뿐임",
    "resembles no label": "어느 라벨과도 비슷하지 않음",
    "two values for ": "값이 둘인 슬롯: ",
    "no line of arcs": "의존 관계를 적은 줄이 없음",
    "too few arcs": "의존 관계가 모자람",
    "too many arcs": "의존 관계가 너무 많음",
    "unreadable arc": "읽을 수 없는 의존 관계",
    "unknown label": "알 수 없는 라벨",
    "no verdict": "판정이 없음",
    "no number": "숫자가 없음",
    "not a pair: ": "슬롯과 값의 쌍이 아님: ",
    "no ": "빠진 표현: ",
}
"""Why an answer is malformed, in Korean; a key that ends in a blank matches the start of a reason,
and the rest of the reason is appended."""


def message(key: str, language: Language, **values: object) -> str:
    """Returns a message of the page with its values filled in."""
    return _MESSAGES[key][LANGUAGES.index(language)].format(**values)


def reason_message(reason: str, language: Language) -> str:
    """Translates a task's reason why an answer is malformed; unknown reasons stay as they are."""
    if language == "en":
        return reason
    if reason in _REASONS:
        return _REASONS[reason]
    for start, korean in _REASONS.items():
        if start.endswith(" ") and reason.startswith(start):
            return korean + reason.removeprefix(start)
    return reason


def field_label(field: str, language: Language) -> str:
    """Returns the label of an input field; its name if there is none."""
    return _FIELDS.get(field, (field, field))[LANGUAGES.index(language)]


def task_label(task: str, language: Language) -> str:
    """Returns the label of a task; its name if there is none."""
    return _TASKS.get(task, (task, task))[LANGUAGES.index(language)]


def entity_label(entity_type: str, language: Language) -> str:
    """Returns the label of an entity type."""
    return _ENTITY_TYPES.get(entity_type, (entity_type, entity_type))[LANGUAGES.index(language)]


__all__ = [
    "LANGUAGES",
    "Language",
    "entity_label",
    "field_label",
    "message",
    "reason_message",
    "task_label",
]
