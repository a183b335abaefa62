"""The texts of the playground, in Korean and in English."""

import re
from typing import Literal, get_args

Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_MESSAGES: dict[str, tuple[str, str]] = {
    "tagline": (
        "토큰 없이 바이트로 읽고 쓰는 한국어 모델",
        "A Korean model that reads and writes bytes, not tokens",
    ),
    "language": ("언어", "Language"),
    "theme": ("밝은 화면 · 어두운 화면", "Light · dark"),
    "model": ("모델", "Model"),
    "task": ("과제", "Task"),
    "ask": ("물어보기", "Ask the model"),
    "sample": ("예문 넣기", "Insert an example"),
    "answer": ("답", "Answer"),
    "blocks": ("GBST가 읽는 방식", "How GBST reads it"),
    "attention": ("모델이 주목한 곳", "Where the model looks"),
    "nothing yet": (
        "‘물어보기’를 누르면 위의 글에 대한 답이 나옵니다. 예문을 지우고 다른 글을 넣어도 됩니다.",
        "Press “Ask the model” for an answer to the text above, which you may replace.",
    ),
    "not fine-tuned": (
        "특정 과제로 미세조정되지 않았거나 그 기록이 없는 모델입니다. 사전학습만 한 모델이라면"
        " ‘빈칸 채우기’만 의미가 있고, 다른 과제의 답은 믿을 수 없습니다.",
        "This model was not fine-tuned for a task, or does not say so. A model that is only"
        " pretrained can fill blanks; its answers to other tasks mean nothing.",
    ),
    # Refusals.
    "empty": (
        "‘{field}’ 칸이 비어 있습니다. 내용을 입력하세요.",
        "“{field}” is empty; type something.",
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
    "refused": (
        "처리할 수 없는 입력입니다. (서버 메시지: {reason})",
        "The model cannot be asked this: {reason}",
    ),
    # Answers.
    "no entity": ("개체명을 찾지 못했습니다.", "No entity was found."),
    "no state": (
        "사용자가 아직 요청한 조건이 없습니다.",
        "The user wants nothing in particular yet.",
    ),
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
        "모델은 지문에 답이 없다고 판단했습니다.",
        "The model says that the passage does not answer the question.",
    ),
    "no text": ("(내용 없음)", "(no text)"),
    "no arc": (
        "어절 {count}개는 어느 말에 걸리는지(지배소) 알 수 없었습니다.",
        "The heads of {count} words could not be read.",
    ),
    "imperfect": (
        "모델의 출력이 정해진 형식과 달라 읽을 수 있는 만큼 해석했습니다: {reason}",
        "The model's output is malformed and was interpreted as well as possible: {reason}",
    ),
    "wrote": ("모델의 원래 출력 보기", "The model's output as written"),
    "likelihood": ("로그 우도 {value:.2f}", "log likelihood {value:.2f}"),
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
        "GBST는 바이트마다 그 바이트가 속한 여러 크기의 블록을 두고, 블록마다 평균을 내어"
        " 가중합합니다. 칸의 색이 뚜렷할수록 그 블록의 가중치가 큽니다. 같은 블록의 칸은 붙여"
        " 그렸습니다. 합의(score consensus)는 바이트끼리 블록 점수를 참조하여 맞추는 단계입니다."
        " 모델에는 입력한 글과 함께 과제를 알리는 문구가 들어갑니다. ␣는 띄어쓰기, ⏎는 줄 바꿈,"
        " ■는 글의 끝입니다.",
        "At each byte GBST mixes the means of blocks of several sizes. The stronger the colour of a"
        " cell, the larger the weight of its block; cells of one block are joined. In consensus,"
        " bytes adjust their weights to those of similar bytes. The model reads the text within a"
        " prompt that names the task; ␣ is a blank, ⏎ the end of a line, ■ the end of the text.",
    ),
    "before": ("합의 전: 바이트마다 따로 매긴 가중치", "Before consensus: each byte's own choice"),
    "after": ("합의 후: 모델이 실제로 쓰는 가중치", "After consensus: the weights the model uses"),
    "block": ("{size}바이트", "{size} bytes"),
    "one byte": ("1바이트", "1 byte"),
    "segments": ("분절", "segments"),
    "bytes": ("바이트", "bytes"),
    "mean": ("평균 가중치", "mean weight"),
    "scale": ("가중치", "weight"),
    "about segments": (
        "‘분절’ 줄은 글을 블록으로 나누는 방법 가운데 가중치의 합이 가장 큰 것입니다. 바이트가 이"
        " 블록들에 준 가중치는 평균 {agreement:.0%}입니다. 모든 블록의 가중치가 같다면"
        " {chance:.0%}이고, 바이트마다 가중치가 가장 큰 블록을 고른다면 {most:.0%}입니다.",
        "The row of segments is the division into blocks with the largest total weight. Bytes give"
        " {agreement:.0%} of their weight to these blocks on average; it would be {chance:.0%} if"
        " all blocks weighed the same, and {most:.0%} if each byte could have its heaviest block.",
    ),
    "positions": (
        "{length}바이트를 인코더 위치 {count}개로 줄입니다({factor}바이트당 하나).",
        "{length} bytes become {count} encoder positions, one for every {factor} bytes.",
    ),
    "beginning": (
        "처음 {count:,}바이트만 그렸습니다.",
        "Only the first {count:,} bytes are drawn.",
    ),
    # Cross-attention.
    "about attention": (
        "아래 출력에서 글자를 고르면, 그 글자를 쓸 때 디코더가 입력의 어디를 보았는지 표시됩니다."
        " 모든 층과 헤드의 평균이며, 한 위치로 합쳐진 바이트들은 그 위치의 가중치를 똑같이 나누어"
        " 갖습니다.",
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
        "어절 | 형태소 | 품사 (한 줄에 한 어절, 비우면 형태소 분석이 없어 부정확할 수 있음)",
        "Word | lemmas | tags (one word per line; without them results may be worse)",
    ),
    "question": ("질문", "Question"),
    "context": ("지문", "Passage"),
    "dialogue": ("대화", "Dialogue"),
    "subject": ("주체", "Subject"),
    "subject_type": (
        "주체 유형 (PER 인물, ORG 단체)",
        "Subject type (PER person, ORG organisation)",
    ),
    "object": ("객체", "Object"),
    "object_type": (
        "객체 유형 (PER, ORG, LOC 장소, DAT 날짜, POH 기타, NOH 수량)",
        "Object type (PER, ORG, LOC place, DAT date, POH other, NOH number)",
    ),
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

_LABELS: dict[str, tuple[str, str]] = {
    "IT과학": ("IT·과학", "IT and science"),
    "경제": ("경제", "economy"),
    "사회": ("사회", "society"),
    "생활문화": ("생활·문화", "life and culture"),
    "세계": ("세계", "world"),
    "스포츠": ("스포츠", "sports"),
    "정치": ("정치", "politics"),
    "함의": ("함의", "entailment"),
    "중립": ("중립", "neutral"),
    "모순": ("모순", "contradiction"),
    "negative": ("부정", "negative"),
    "positive": ("긍정", "positive"),
    "different": ("뜻이 다름", "different"),
    "paraphrase": ("같은 뜻", "paraphrase"),
    "no_relation": ("관계 없음", "no relation"),
    "org:dissolved": ("해산일", "dissolved on"),
    "org:founded": ("설립일", "founded on"),
    "org:place_of_headquarters": ("본부 소재지", "headquarters"),
    "org:alternate_names": ("단체의 다른 이름", "other name of the organisation"),
    "org:member_of": ("상위 단체", "member of"),
    "org:members": ("소속 구성원·단체", "members"),
    "org:political/religious_affiliation": ("정치·종교 성향", "political or religious affiliation"),
    "org:product": ("단체의 제품·작품", "product of the organisation"),
    "org:founded_by": ("설립자", "founded by"),
    "org:top_members/employees": ("대표·주요 구성원", "leading members or employees"),
    "org:number_of_employees/members": ("구성원 수", "number of employees or members"),
    "per:date_of_birth": ("생년월일", "date of birth"),
    "per:date_of_death": ("사망일", "date of death"),
    "per:place_of_birth": ("출생지", "place of birth"),
    "per:place_of_death": ("사망지", "place of death"),
    "per:place_of_residence": ("거주지", "place of residence"),
    "per:origin": ("출신·국적", "origin"),
    "per:employee_of": ("소속 기관", "employee of"),
    "per:schools_attended": ("출신 학교", "schools attended"),
    "per:alternate_names": ("인물의 다른 이름", "other name of the person"),
    "per:parents": ("부모", "parents"),
    "per:children": ("자녀", "children"),
    "per:siblings": ("형제자매", "siblings"),
    "per:spouse": ("배우자", "spouse"),
    "per:other_family": ("그 밖의 가족", "other family"),
    "per:colleagues": ("동료", "colleagues"),
    "per:product": ("인물의 작품", "product of the person"),
    "per:religion": ("종교", "religion"),
    "per:title": ("직함", "title"),
}

_REFUSALS: dict[str, str] = {
    r"an input has (\d+) bytes; send at most (\d+)": (
        "입력이 {:,}바이트입니다. {:,}바이트까지 입력할 수 있으니 글을 줄이거나 나누어 물어보세요."
    ),
    r"the inputs are read in (\d+) windows, more than the (\d+)": (
        "지문이 길어 {:,}개 구간으로 나누어 읽어야 하는데, {:,}개까지만 읽을 수 있습니다."
        " 지문을 줄이거나 나누어 물어보세요."
    ),
    "the question leaves too little room": (
        "질문이 길어 지문을 읽을 자리가 모자랍니다. 질문을 줄이세요."
    ),
    "is not a blank|the text has blanks": (
        "빈칸은 밑줄 두 개(__)로만 표시할 수 있습니다. ‘<extra_id_’로 시작하는 표시는 지우세요."
    ),
}
"""What the server says of questions that a person can mend, and the same in Korean."""

_REASONS: dict[str, str] = {
    "empty": "출력이 비어 있음",
    "repaired": "가장 가까운 답으로 고침",
    "unbalanced mark": "개체명 표시 ‘< >’의 짝이 맞지 않음",
    "the sentence was changed": "입력 문장과 다르게 씀",
    "only the beginning": "문장의 앞부분만 씀",
    "resembles no label": "어느 라벨과도 비슷하지 않음",
    "two values for ": "값이 둘인 슬롯: ",
    "no line of arcs": "의존 관계를 적은 줄이 없음",
    "too few arcs": "의존 관계가 모자람",
    "too many arcs": "의존 관계가 너무 많음",
    "unreadable arc": "읽을 수 없는 의존 관계",
    "unknown label": "알 수 없는 라벨",
    "no verdict": "‘정답임’ 같은 판정이 없음",
    "no number": "숫자가 없음",
    "not a pair: ": "슬롯과 값의 쌍이 아님: ",
    "no ": "빠진 표현: ",
}
"""Why an answer is malformed, in Korean; a key that ends in a blank matches the start of a reason,
and the rest of the reason is appended."""


def message(key: str, language: Language, **values: object) -> str:
    """Returns a message of the page with its values filled in."""
    return _MESSAGES[key][LANGUAGES.index(language)].format(**values)


def refusal_message(detail: str, language: Language) -> str:
    """Says why the server refuses a question: in its own words where there are no others."""
    if language == "ko":
        for said, korean in _REFUSALS.items():
            if match := re.search(said, detail):
                return korean.format(*map(int, match.groups()))
    return message("refused", language, reason=detail)


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


def answer_label(label: str, language: Language) -> str:
    """Returns a label that a model may answer, in words; unknown ones stay as they are."""
    return _LABELS.get(label, (label, label))[LANGUAGES.index(language)]


def entity_label(entity_type: str, language: Language) -> str:
    """Returns the label of an entity type."""
    return _ENTITY_TYPES.get(entity_type, (entity_type, entity_type))[LANGUAGES.index(language)]
