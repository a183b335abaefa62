"""Beam search finds what is likeliest, with the likelihood that the model gives it."""

import random

import numpy as np
import pytest
import torch

from kebyt5.generation import Engine, GenerationOptions
from kebyt5.generation.batch import _allowed
from kebyt5.generation.beams import beam_search
from kebyt5.generation.cache import SlotCache
from kebyt5.generation.constraints import UTF8, Choices
from kebyt5.generation.constraints.constraint import byte_ids
from kebyt5.generation.likelihood import log_likelihoods
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer

INPUT = "무엇에 대한 글인가"


def labels(count, seed=0):
    rng = random.Random(seed)
    return sorted({"".join(rng.choices("가나다abc", k=rng.randint(1, 4))) for _ in range(count)})


def ids_of(text):
    return np.array([*byte_ids(text), 1])


def written(found):
    return [(ByteTokenizer().decode(each.ids[:-1]), each.log_likelihood) for each in found]


@pytest.fixture
def model(tiny_model):
    made = tiny_model()
    made.lm_head.weight.data.mul_(8)  # likelihoods that differ
    return made


def test_enough_beams_find_everything_with_its_likelihood(model):
    names = labels(12)
    found = written(Engine(model).search(ids_of(INPUT), Choices([names]), 40, 30))
    (expected,) = log_likelihoods(model, [INPUT], [names])
    order = np.argsort(-expected)
    assert [text for text, _ in found] == [names[i] for i in order]
    np.testing.assert_allclose([score for _, score in found], expected[order], atol=1e-4)


@pytest.mark.parametrize("size", [259, 512])
def test_models_of_other_vocabularies(tiny_model, size):
    model = tiny_model(vocab_size=size)
    names = labels(6)
    found = written(Engine(model).search(ids_of(INPUT), Choices([names]), 20, 30))
    assert sorted(text for text, _ in found) == names


@pytest.mark.parametrize("num_beams", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_few_beams_find_nothing_less_likely_than_transformers_does(num_beams, seed, model):
    """Which counts an output only if its end is among the `num_beams` best of its length."""
    names = labels(60, seed)
    found = written(Engine(model).search(ids_of(INPUT), Choices([names]), num_beams, 30))
    outcome = model.generate(
        input_ids=ByteTokenizer()(INPUT, return_tensors="pt").input_ids,
        num_beams=num_beams,
        num_return_sequences=num_beams,
        max_new_tokens=30,
        length_penalty=0.0,
        do_sample=False,
        prefix_allowed_tokens_fn=_allowed([Choices([names])], [30], model, num_beams, 0),
        return_dict_in_generate=True,
        output_scores=True,
    )
    scores = np.array([score for _, score in found])
    assert (scores > outcome.sequences_scores.numpy() - 1e-4).all()
    (expected,) = log_likelihoods(model, [INPUT], [[text for text, _ in found]])
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_one_beam_follows_the_likeliest_byte(model):
    (greedy,) = Engine(model).generate([INPUT], GenerationOptions(constraint=Choices([labels(60)])))
    (found,) = Engine(model).search(ids_of(INPUT), Choices([labels(60)]), 1, 30)
    (likelihood,) = log_likelihoods(model, [INPUT], [[greedy.text]])
    assert found.log_likelihood > likelihood[0] - 1e-4


def test_the_search_goes_on_while_a_longer_output_may_be_likelier():
    def run_pass(ids, caches):
        """`a` is likelier than the end at first, and then the end is all but certain."""
        probabilities = torch.full((len(ids), 384), 1e-9)
        for row, (last,) in enumerate(ids):
            probabilities[row, [1, 100]] = torch.tensor([0.1, 0.9] if last == 0 else [1.0, 1e-6])
        return probabilities.log()

    cache = SlotCache(torch.zeros(1, 2, 1, 1, 1))
    (found,) = beam_search(run_pass, cache, 0, UTF8(), num_beams=1, max_new_ids=5)
    assert found.ids == (100, 1)
    assert found.log_likelihood == pytest.approx(np.log(0.9), abs=1e-4)


def test_what_never_ends_is_not_found(model):
    assert Engine(model).search(ids_of(INPUT), Choices([["가나다라마바사"]]), 4, 10) == []


def test_requests_may_have_their_turn_before_each_pass(model):
    alone = Engine(model).search(ids_of(INPUT), UTF8(), 3, 20)
    (text,) = Engine(model).generate([INPUT], GenerationOptions(max_new_bytes=12))
    engine = Engine(model)
    request = engine.submit(INPUT, GenerationOptions(max_new_bytes=12))
    among = engine.search(ids_of(INPUT), UTF8(), 3, 20, before_pass=engine.step)
    assert request.done
    assert request.result().ids == text.ids
    assert [each.ids for each in among] == [each.ids for each in alone]


def test_a_search_can_be_given_up(model):
    engine, passes = Engine(model), []

    def give_up():
        passes.append(1)
        if len(passes) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        engine.search(ids_of(INPUT), UTF8(), 3, 20, before_pass=give_up)
    assert len(passes) == 3


def test_ids_that_the_model_has_not_are_refused(model):
    with pytest.raises(ValueError, match="id 9999"):
        Engine(model).search(np.array([9999, 1]), UTF8(), 3, 20)
