"""Noise as people and programs make it: typos in jamo, spacing errors, lost bytes.

For measuring how robust a model is. Everything but Hangul syllables and blanks stays as it is, and
a task may spare more (`Task.damage`), so that the structure of an input survives.
"""

import random

# The rows of the two-set keyboard; a slip hits a neighbour in the same row.
_KEYS = ("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ", "ㅁㄴㅇㄹㅎㅗㅓㅏㅣ", "ㅋㅌㅊㅍㅠㅜㅡ")
_FIRST = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_MIDDLE = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_LAST = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_SYLLABLES = range(0xAC00, 0xD7A4)


def add_noise(text: str, rate: float, seed: int) -> str:
    """Damages a text.

    Each Hangul syllable and each blank is hit with probability `rate`. A syllable gets, with equal
    chances, a typo in one jamo, a blank behind it, or loses one of its three bytes; what is left of
    it is no character and reads U+FFFD, as wherever damaged UTF-8 is decoded. A blank is lost.

    Args:
        text: The text.
        rate: From 0 to 1.
        seed: Decides, with the text, every hit. What a low rate hits a higher one hits as well.

    Raises:
        ValueError: The rate is out of range.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"noise rate {rate} is not between 0 and 1")
    rng = random.Random(f"{seed} {text}".encode(errors="surrogatepass"))
    # Two draws a character at any rate: what a low rate hits, a higher one hits in the same way.
    draws = [(rng.random(), rng.random()) for _ in text]
    return "".join(
        _hit(character, random.Random(kind)) if draw < rate else character
        for character, (draw, kind) in zip(text, draws, strict=True)
    )


def _hit(character: str, rng: random.Random) -> str:
    if character == " ":
        return ""
    if ord(character) not in _SYLLABLES:
        return character
    kind = rng.randrange(3)
    if kind == 0:
        return _typo(character, rng)
    if kind == 1:
        return character + " "
    lost = rng.randrange(3)
    left = character.encode()
    return (left[:lost] + left[lost + 1 :]).decode(errors="replace")


def _typo(syllable: str, rng: random.Random) -> str:
    """The syllable with one of its jamo replaced by a neighbour on the keyboard."""
    code = ord(syllable) - _SYLLABLES.start
    places = [code // 588, code // 28 % 21, code % 28]
    choices = [
        (part, index)
        for part, jamo in enumerate((_FIRST, _MIDDLE, _LAST))
        for index in _neighbours(jamo, places[part])
    ]
    if not choices:
        return syllable
    part, index = rng.choice(choices)
    places[part] = index
    first, middle, last = places
    return chr(_SYLLABLES.start + (first * 21 + middle) * 28 + last)


def _neighbours(jamo: str, index: int) -> list[int]:
    """Where in a row of jamo those stand that lie beside one of them on the keyboard."""
    for row in _KEYS:
        place = row.find(jamo[index])
        if place >= 0:
            beside = row[max(0, place - 1) : place] + row[place + 1 : place + 2]
            return [jamo.index(key) for key in beside if key in jamo]
    return []


__all__ = ["add_noise"]
