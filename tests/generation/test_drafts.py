"""Guesses follow what is copied, and are made where they pay."""

import pytest

import kebyt5
from kebyt5.generation import Engine, GenerationOptions
from kebyt5.generation.constraints import CopyWithTags
from kebyt5.generation.drafts import LENGTHS, CopyDraft, Habits, Price

ALONE = Price.beside(1)


def ids(text):
    return [byte + 3 for byte in text.encode()]


def text(guess):
    return bytes(i - 3 for i in guess).decode("utf-8", "ignore")


def test_what_follows_in_the_input_is_proposed():
    draft = CopyDraft(ids("서울에서 부산까지 기차를 탔다."), Habits())
    assert draft.propose([], ALONE) == []
    draft.extend(ids("부산"))
    guess = draft.propose([], ALONE)
    assert "까지 기차를 탔다.".startswith(text(guess))
    assert len(guess) in LENGTHS


def test_the_copy_goes_on_behind_an_inserted_mark():
    draft = CopyDraft(ids("서울에서 부산까지 기차를 탔다."), Habits())
    draft.extend(ids("서울에서"))
    guess = draft.propose([], ALONE)
    accepted = len(b" ")
    draft.learn(len(guess), accepted)
    draft.extend(ids(" <"))
    assert text(draft.propose([], ALONE)).startswith("부산")


def test_what_the_constraint_expects_wins():
    draft = CopyDraft(ids("서울에서 부산까지"), Habits())
    draft.extend(ids("서울에서"))
    assert text(draft.propose(ids("대전까지 간다"), ALONE)).startswith("대전")


def test_guesses_that_fail_are_given_up_and_tried_again_later():
    draft = CopyDraft(ids("가나다라 " * 3), Habits())
    draft.extend(ids("가나다라"))
    busy = Price.beside(16)
    tried = []
    for _ in range(200):
        guess = draft.propose([], busy)
        tried.append(bool(guess))
        draft.learn(len(guess), 0)
    assert sum(tried[:20]) < 10
    assert any(tried[100:])


def test_guesses_that_are_right_grow():
    source = "".join(chr(0xAC00 + i) for i in range(200))
    draft, at = CopyDraft(ids(source), Habits()), 3
    draft.extend(ids(source)[:9])
    at, lengths = 9, []
    for _ in range(6):
        guess = draft.propose([], ALONE)
        assert guess == ids(source)[at : at + len(guess)]
        draft.learn(len(guess), len(guess))
        draft.extend(guess)
        at += len(guess)
        lengths.append(len(guess))
    assert lengths == sorted(lengths)
    assert lengths[-1] == LENGTHS[-1]


def test_the_next_request_knows_where_outputs_begin():
    habits = Habits()
    first = CopyDraft(ids("### 입력\n서울에 산다.\n"), habits)
    first.extend(ids("<서울에"))
    assert text(CopyDraft(ids("### 입력\n부산에 간다.\n"), habits).propose([], ALONE)).startswith(
        "부산"
    )
    assert CopyDraft(ids("다른 물음"), habits).propose([], ALONE) == []


@pytest.mark.parametrize("mean", [0.5, 2.0, 20.0])
def test_rows_are_dearer_beside_more_requests(mean):
    gains = [Price.beside(requests).gain(mean, 7) for requests in (1, 4, 16, 64)]
    assert gains == sorted(gains, reverse=True)


def test_what_is_proposed_is_counted_and_what_is_forced_apart():
    sentence = "김하늘 씨는 서울에서 부산까지 기차를 타고 갔다."
    text = f"task: NER\n\n### 입력\n{sentence}\n"
    bound = CopyWithTags(sentence, ("PS", "LC"))
    counts = {
        (drafts, constraint): Engine(kebyt5.load("tiny"))
        .generate([text], GenerationOptions(drafts=drafts, constraint=constraint))[0]
        .statistics
        for drafts in (False, True)
        for constraint in (None, bound)
    }
    for (drafts, constraint), found in counts.items():
        assert found.copied <= found.proposed
        assert (found.proposed > 0) == drafts
        assert found.forced <= found.proposed_forced
        assert (found.forced > 0) == (constraint is not None)
        if constraint is None:  # each pass reads an id and a draft
            assert found.rows == found.passes + found.proposed
    assert counts[False, bound].forced == counts[False, bound].proposed_forced
