"""Finds salient spans, which a model should know or infer: dates, quantities, names and the like.

Masking these in place of arbitrary spans is a second stage of pretraining (Guu et al. 2020, REALM;
Roberts et al. 2020).
"""

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.pretraining.randomness import Uint64, uniform
from kebyt5.pretraining.spans import MAX_SPANS, Spans

NameFinder = Callable[[Sequence[str]], Sequence[Iterable[tuple[int, int]]]]
"""Maps texts to the character spans, begin and end, of the names in each."""

_DIGITS = r"\d+(?:,\d{3})*(?:\.\d+)?"
_SCALE = "[십백천만억조]+"
# 1만2천여, 3억 5천만: alternating digits and scales; 여 means "and some".
_SCALED = rf"{_DIGITS}{_SCALE}(?: ?{_DIGITS}{_SCALE})*(?: ?{_DIGITS}(?=[ 가-힣]))?"
_NUMBER = rf"(?:{_SCALED}|{_DIGITS})(?:여(?= ?[가-힣]))?"
_UNITS = (
    "퍼센트|퍼센트포인트|%p?|㎞|㎢|㎡|㎏|㎜|㎝|㎖|℃|(?:km|cm|m)²|(?:km|kg|cm|mm|mL|ml|MB|GB|TB|kB|m|g|L)(?![A-Za-z])|"
    "킬로미터|센티미터|밀리미터|미터|밀리리터|리터|킬로그램|킬로|그램|톤|평|인치|"
    "도|원|달러|엔|유로|위안|명|개국|개월|개년|개|살|세대|세|학년|년대|주년|년|월|일간|일|시간|분기|분|초|"
    "주기|주간|주|차례|차|회|번째|번|위|층|호|등급|등(?!록|산|장)|급|장|권|마리|대|건|곳|쪽|배|점|척|채|그루|잔|병|조|항|인"
)
_ONES = "한|두|세|네|다섯|여섯|일곱|여덟|아홉"
_TENS = "열|스물|서른|마흔|쉰|예순|일흔|여든|아흔"
_COUNTED = (
    rf"(?:{_TENS})(?:{_ONES})?|{_ONES}|석|넉|스무|한두|두세|서너|대여섯|예닐곱|수십|수백|수천"
)
# Not 개인 (individual), 장가 (marriage), 장로 (elder), 대로 (as).
_COUNTERS = "명|개(?!인)|번째|번|살|마리|권|장(?!가|로)|대(?!로)|곳|잔|병|시간|달|사람|가지|차례|배"
_SPELT = r"수?(?:[일이삼사오육칠팔구]?[십백천만억조])+[일이삼사오육칠팔구]?여?"
_SPELT_UNITS = "원|달러|엔|유로|명|개국|개월|개|년|회|번|배|톤|권|대(?!로)|마리|가구|건"
_DAYS = "하루|이틀|사흘|나흘|닷새|엿새|열흘|보름|일주일|반나절|한나절"

_NO_HANGUL = r"(?<![가-힣])"
_PARTICLES = (
    "째|쯤|씩|정도|가량|남짓|짜리|들|간|동안|만|뿐|당|이상|이하|이내|"
    "이|가|은|는|을|를|의|에|도|로|으로|와|과|나|이나|라도|이라도|에서|에게|한테|까지|부터|보다|마다|"
    "밖에|처럼|만큼|조차|이서|이란|이라고?|이라는|라고|라는|이며|이고|이다|다|였다|이었다|입니다|이에요|예요"
)
_WORD_ENDS = rf"(?=(?:{_PARTICLES}){{0,3}}(?![가-힣]))"

_PART_OF_DAY = r"(?:(?:오전|오후|새벽|아침|저녁|밤|낮) ?)?"
_HOUR = rf"(?!한 ?시라?도)(?:열두|열한|열|{_ONES}) ?시(?!간)"  # 한시도 means at any time
_HALF = rf"반{_WORD_ENDS}"

RULES = {
    "date": (
        r"\d{2,4}년(?!대)(?: ?\d{1,2}월)?(?: ?\d{1,2}일)?|\d{1,2}월(?: ?\d{1,2}일)?"
        r"|\d{1,2}일(?![가-힣]{2})|\d{4}[-./] ?\d{1,2}[-./] ?\d{1,2}"
        r"|[월화수목금토일]요일|\d{1,2}세기"
    ),
    "time": (
        rf"(?:{_PART_OF_DAY}\d{{1,2}}시(?!간)"
        rf"|{_NO_HANGUL}{_PART_OF_DAY}{_HOUR}(?:(?=경| ?{_HALF})|{_WORD_ENDS}))"
        rf"(?: ?(?:\d{{1,2}}분|{_HALF}))?(?: ?\d{{1,2}}초)?|\d{{1,2}}:\d{{2}}(?::\d{{2}})?"
        rf"|{_NO_HANGUL}(?:정오|자정){_WORD_ENDS}"
    ),
    "quantity": (
        rf"{_DIGITS}분의 ?{_DIGITS}|(?:{_NUMBER}[~∼-])?{_NUMBER} ?(?:{_UNITS})"
        rf"|{_NO_HANGUL}(?:{_COUNTED}) (?:{_COUNTERS}){_WORD_ENDS}"
        rf"|{_NO_HANGUL}{_SPELT} ?(?:{_SPELT_UNITS}){_WORD_ENDS}"
        rf"|{_NO_HANGUL}(?:{_DAYS}){_WORD_ENDS}"
    ),
    "number": _NUMBER,
}
"""Patterns of salient spans; of several that match at one character, the first wins."""

_SALIENT = re.compile(
    "|".join(rf"(?P<{name}>(?<![\dA-Za-z.,])(?:{rule}))" for name, rule in RULES.items())
)


def find_by_rule(text: str) -> list[tuple[int, int, str]]:
    """Finds begin, end and kind of the dates, times, quantities and numbers in a text, in order."""
    return [(*match.span(), str(match.lastgroup)) for match in _SALIENT.finditer(text)]


class SalientSpans:
    """Replaces random spans by salient ones.

    Args:
        names: Finds names in addition, for example by a model fine-tuned on named entities.
    """

    def __init__(self, names: NameFinder | None = None) -> None:
        self.names = names

    def find(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Finds the salient character spans of each text; they may touch, but do not overlap."""
        named = self.names(texts) if self.names else [()] * len(texts)
        found = []
        for text, names in zip(texts, named, strict=True):
            by_rule = [(begin, end) for begin, end, _ in find_by_rule(text)]
            chosen: list[tuple[int, int]] = []
            # The first to begin wins, and of several that begin together the longest.
            for begin, end in sorted([*by_rule, *names], key=lambda span: (span[0], -span[1])):
                if begin < end and (not chosen or begin >= chosen[-1][1]):
                    chosen.append((begin, end))
            found.append(chosen)
        return found

    def replace(
        self, spans: Spans, texts: np.ndarray, sizes: np.ndarray, row_keys: Uint64, density: float
    ) -> Spans:
        """Masks salient spans chosen at random, until the density or 11 spans are reached.

        Args:
            spans: Spans to mask in texts where nothing salient is found.
            texts: Bytes of the texts, uint8 (rows, width).
            sizes: Bytes of each text, (rows,).
            row_keys: Keys that determine the choice, (rows,).
            density: Largest share of the bytes to mask; a single span may exceed it.
        """
        starts, ends, counts = (array.copy() for array in spans)
        decoded = [row[:size].tobytes().decode() for row, size in zip(texts, sizes, strict=True)]
        for row, (text, found) in enumerate(zip(decoded, self.find(decoded), strict=True)):
            offsets = ByteTokenizer.char_to_byte(text)
            candidates = [(int(offsets[begin]), int(offsets[end])) for begin, end in found]
            order = np.argsort(uniform(row_keys[row : row + 1], max(1, len(candidates)))[0])
            chosen = _choose(
                [candidates[i] for i in order[: len(candidates)]], density * len(text.encode())
            )
            if chosen:
                counts[row] = len(chosen)
                starts[row], ends[row] = sizes[row], sizes[row]
                starts[row, : len(chosen)], ends[row, : len(chosen)] = np.transpose(chosen)
        return Spans(starts, ends, counts)


def _choose(candidates: Iterable[tuple[int, int]], budget: float) -> list[tuple[int, int]]:
    """The first spans within a budget of bytes that have a byte between them, sorted."""
    chosen: list[tuple[int, int]] = []
    for begin, end in candidates:
        used = sum(last - first for first, last in chosen)
        is_apart = begin > 0 and all(end < first or last < begin for first, last in chosen)
        if is_apart and (not chosen or used + end - begin <= budget):
            chosen.append((begin, end))
        if len(chosen) == MAX_SPANS:
            break
    return sorted(chosen)
