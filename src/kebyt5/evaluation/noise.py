"""Realistic noise for measuring robustness: typos in jamo, spacing errors, lost bytes.

Only Hangul syllables and blanks are damaged, and a task may spare some of those (`Task.damage`), so
that the structure of an input survives.
"""

import random

# Rows of the two-set (dubeolsik) keyboard; a typo hits a neighbour in the same row.
_KEYS = ("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ", "ㅁㄴㅇㄹㅎㅗㅓㅏㅣ", "ㅋㅌㅊㅍㅠㅜㅡ")
_FIRST = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_MIDDLE = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_LAST = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_SYLLABLES = range(0xAC00, 0xD7A4)


def add_noise(text: str, rate: float, seed: int) -> str:
    """Damages a text.

    Each Hangul syllable and each blank is damaged with probability `rate`. A blank is deleted. A
    syllable, with equal chances, gets a typo in one jamo, gets a blank after it, or loses one of
    its three bytes; the remaining bytes decode to U+FFFD, like any damaged UTF-8.

    Args:
        text: The text.
        rate: Probability of damage to a syllable or blank, from 0 to 1.
        seed: Seed, which together with the text decides all damage. What is damaged at a low rate
            is damaged in the same way at a higher one.

    Raises:
        ValueError: The rate is out of range.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"noise rate {rate} is not between 0 and 1")
    rng = random.Random(f"{seed} {text}".encode(errors="surrogatepass"))
    # Two draws per character at any rate, so that higher rates only add to the damage.
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
    """Replaces one jamo of a syllable by a neighbour on the keyboard."""
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
    """Returns the indices in `jamo` of the keyboard neighbours of the one at `index`."""
    for row in _KEYS:
        place = row.find(jamo[index])
        if place >= 0:
            beside = row[max(0, place - 1) : place] + row[place + 1 : place + 2]
            return [jamo.index(key) for key in beside if key in jamo]
    return []
