"""Generated texts do not depend on batches, and come back in the order of the inputs."""

import pytest

from kebyt5 import ByteTokenizer
from kebyt5.generation.batch import generate_texts
from kebyt5.generation.constraints import Choices, ConstraintError, CopyWithTags
from kebyt5.generation.request import GenerationError
from kebyt5.tasks import get_task

INPUTS = ["가", "서울에서 부산까지 기차를 탔다.", "b", "오늘은 비가 온다.", "", "긴 문장 " * 9]


def test_answers_that_reach_their_limit_are_told_by_either_search(tiny_model):
    for num_beams in (1, 2):
        found = generate_texts(
            tiny_model(), ["가", "나"], [5, 7], 2, num_beams, constraint=Choices([["가나"]])
        )
        assert found.texts == ["가", "가나"]
        assert found.cut == [True, False]


def test_batches_change_nothing(tiny_model):
    model = tiny_model()
    limits = [12] * len(INPUTS)
    together = generate_texts(model, INPUTS, limits, batch_size=4).texts
    tokenizer = ByteTokenizer()
    for text, generated in zip(INPUTS, together, strict=True):
        ids = model.generate(**tokenizer(text, return_tensors="pt"), max_new_tokens=12)[0]
        whole = tokenizer.decode(ids, skip_special_tokens=True)
        # Half a character at the cut is left out.
        assert whole in (generated, generated + "\ufffd")


def test_no_text_is_longer_than_its_bound_allows(tiny_model):
    limits = [3, 30, 3, 30, 3, 30]
    together = generate_texts(tiny_model(), INPUTS, limits, batch_size=6).texts
    alone = generate_texts(tiny_model(), INPUTS, limits, batch_size=1).texts
    assert together == alone
    assert max(len(text) for text, limit in zip(together, limits, strict=True) if limit == 3) <= 4


def test_beams_stay_within_the_constraint(tiny_model):
    texts = ["가나다라 마바사", "<가:LC>", ""]
    constraints = [CopyWithTags(text, ("LC", "L")) for text in texts]
    found = generate_texts(tiny_model(), INPUTS[:3], [200] * 3, 2, 4, constraint=constraints).texts
    for text, generated in zip(texts, found, strict=True):
        task = get_task("ner")
        marked = generated.replace(":L>", ":LC>")
        assert not text or task.parse(marked, task.example(sentence=text)).reason is None


def test_beams_in_a_dead_end_are_an_error_as_greedy_texts_are(tiny_model):
    nothing = Choices([["xyz"]]) & Choices([["xyq"]])
    with pytest.raises(GenerationError, match="nothing to generate"):
        generate_texts(tiny_model(), ["서울"], [20], constraint=nothing)
    with pytest.raises(ConstraintError, match="nothing to generate"):
        generate_texts(tiny_model(), ["서울"], [20], num_beams=2, constraint=nothing)
    with pytest.raises(ValueError, match="num_beams is 0"):
        generate_texts(tiny_model(), ["서울"], [20], num_beams=0)


def test_beams_are_cut_as_greedy_texts_are(tiny_model):
    model = tiny_model()
    for limit in (1, 3, 4, 7):
        for constraint in (None, Choices([["함의", "중립", "모순"]])):
            found = generate_texts(model, INPUTS, [limit] * 6, 6, 3, constraint=constraint).texts
            assert all(len(text.encode()) <= limit for text in found if "\ufffd" not in text)
            if constraint:
                assert set(found) <= {"함의"[:n] for n in range(3)} | {"중", "중립", "모", "모순"}


def test_beams_do_not_depend_on_their_neighbours(tiny_model):
    model, limits = tiny_model(), [3, 30, 5, 20, 12, 40]
    together = generate_texts(model, INPUTS, limits, batch_size=6, num_beams=3).texts
    for text, limit, found in zip(INPUTS, limits, together, strict=True):
        assert generate_texts(model, [text], [limit], num_beams=3).texts == [found]


def test_training_mode_is_left_as_it_was(tiny_model):
    model = tiny_model().train()
    generate_texts(model, ["가"], [2])
    assert model.training
    model = tiny_model(vocab_size=100).train()
    with pytest.raises(ValueError, match="ids from 0 to 99"):
        generate_texts(model, ["가"], [2])
    assert model.training
    with pytest.raises(IndexError, match="not in a vocabulary of 100"):
        generate_texts(model, ["가"], [2], num_beams=2)
    assert model.training


def test_nothing_to_generate(tiny_model):
    assert generate_texts(tiny_model(), [], []).texts == []


@pytest.mark.parametrize("num_beams", [1, 2])
@pytest.mark.parametrize(
    ("inputs", "limits", "reason"),
    [
        (["a", "b"], [5], "2 inputs, but 1 limits"),
        (["a", "b"], [5, 6, 7], "2 inputs, but 3 limits"),
        ("abc", [3, 3, 3], "inputs is one text"),
        (["a"], [0], "max_new_bytes is 0"),
    ],
)
def test_either_search_refuses_inputs_without_their_limits(
    tiny_model, num_beams, inputs, limits, reason
):
    with pytest.raises(ValueError, match=reason):
        generate_texts(tiny_model(), inputs, limits, num_beams=num_beams)
