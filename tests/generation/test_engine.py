"""Whatever is generated beside it, a text is the one that plain generation gives."""

import math
import random
import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.utils.flop_counter import FlopCounterMode

import kebyt5
from kebyt5 import ByteTokenizer
from kebyt5.generation.constraints import UTF8, Choices, ConstraintError, CopyWithTags, Grammar
from kebyt5.generation.constraints.constraint import Constraint
from kebyt5.generation.constraints.grammar import _Walk
from kebyt5.generation.engine import Engine
from kebyt5.generation.request import GenerationError, GenerationOptions, Request

TEXTS = "가나다라마바사아자차 ab<>:"


MODELS = {
    "gbst": {},
    "plain": {"gbst": False},
    "tied": {"gbst": False, "tie_word_embeddings": True},
    "t5": {"gbst": False, "tie_word_embeddings": True, "feed_forward_proj": "relu"},
}


@pytest.fixture(params=MODELS)
def model(request, tiny_model):
    """A random model whose texts are no constant."""
    made = tiny_model(**MODELS[request.param])
    with torch.no_grad():
        made.shared.weight.mul_(2)
        if made.lm_head.weight is not made.shared.weight:
            made.lm_head.weight.mul_(8)
    return made


def texts(count, longest, seed=0):
    rng = random.Random(seed)
    lengths = [int(longest ** rng.random()) for _ in range(count)]
    return ["".join(rng.choices(TEXTS, k=length)) for length in lengths]


def plain_greedy(model, text, limit, constraint=None):
    """Ids by Transformers, one text at a time."""
    states = {(): constraint.start()} if constraint else {}

    def allowed(_, ids):
        path = tuple(ids[1:].tolist())
        if path not in states:
            states[path] = constraint.advance(states[path[:-1]], path[-1])
        return np.flatnonzero(constraint.allowed(states[path])).tolist()

    encoded = ByteTokenizer()(text, return_tensors="pt")
    function = allowed if constraint else None
    ids = model.generate(**encoded, max_new_tokens=limit, prefix_allowed_tokens_fn=function)
    return ids[0, 1:].tolist()


class Endless(UTF8):
    """UTF-8 without the end of sequence."""

    def allowed(self, state):
        mask = super().allowed(state).copy()
        mask[1] = False
        return mask


def mixed_options(inputs, seed=0):
    rng = random.Random(seed)
    made = []
    for text in inputs:
        constraint = rng.choice(
            [
                None,
                None,
                None,
                UTF8(),
                Choices([["가", "나다", "나"]]),
                CopyWithTags(text, ("PS", "LC")),
                Grammar.regex("[가-힣]{2,9}( [a-z]+)?"),
            ]
        )
        options = {"max_new_bytes": rng.randint(1, 60), "drafts": rng.random() < 0.8}
        made.append(GenerationOptions(constraint=constraint, **options))
    return made


def assert_as_plain_greedy(model, inputs, options, max_slots):
    generated = Engine(model, max_slots).generate(inputs, options)
    for text, each, found in zip(inputs, options, generated, strict=True):
        expected = plain_greedy(model, text, each.max_new_bytes, each.constraint)
        assert found.ids == expected, (text, each)
    return generated


def test_greedy_texts_are_those_of_plain_generation(model):
    inputs = texts(30, 300)
    found = assert_as_plain_greedy(model, inputs, mixed_options(inputs), max_slots=7)
    assert sum(each.statistics.copied for each in found) > 0
    assert len({each.text for each in found}) > 10


def test_where_rounding_would_decide_plain_generation_does(model):
    with torch.no_grad():
        weight = model.lm_head.weight
        noise = 1e-6 * torch.randn(190, weight.shape[1])
        weight[4:384:2] = weight[3:383:2] + noise  # every id has a twin, nearly as likely
    inputs = texts(12, 100)
    options = mixed_options(inputs)
    found = assert_as_plain_greedy(model, inputs, options, max_slots=5)
    assert sum(each.statistics.ties for each in found) > 50
    sampled = [
        GenerationOptions(max_new_bytes=20, temperature=1.0, seed=seed) for seed in range(12)
    ]
    together = Engine(model, 5).generate(inputs, sampled)
    alone = Engine(model, 1).generate(inputs, sampled)
    assert [each.ids for each in together] == [each.ids for each in alone]


def test_long_outputs(model):
    # Relative positions end at 128, the first table of biases at 256.
    inputs = texts(2, 60)
    options = [
        GenerationOptions(max_new_bytes=300, constraint=Endless(), drafts=drafts)
        for drafts in (True, False)
    ]
    found = assert_as_plain_greedy(model, inputs, options, max_slots=2)
    assert [len(each.ids) for each in found] == [300, 300]


@pytest.mark.slow
def test_a_thousand_mixed_requests(model):
    inputs = texts(1000, 1000, seed=1)  # characters, up to 3,000 bytes
    assert_as_plain_greedy(model, inputs, mixed_options(inputs, seed=1), max_slots=16)


def test_texts_that_copy_take_few_passes():
    model = kebyt5.load("tiny")
    text = "김하늘 씨는 서울에서 부산까지 기차를 타고 갔다."
    constraint = CopyWithTags(text, ("PS", "LC", "OG", "DT", "TI", "QT"))
    for each, bytes_a_pass in ((None, 3), (constraint, 6)):
        options = GenerationOptions(max_new_bytes=120, constraint=each)
        (found,) = assert_as_plain_greedy(model, [text], [options], max_slots=1)
        statistics = found.statistics
        assert statistics.decided + statistics.copied + statistics.forced == len(found.ids)
        assert len(found.ids) > bytes_a_pass * statistics.passes, statistics
        assert statistics.decided <= statistics.passes


def test_half_precision_decodes_as_transformers_does(tiny_model):
    model = tiny_model().to(torch.bfloat16)
    engine = Engine(model)
    options = GenerationOptions(max_new_bytes=8, drafts=False)
    found = engine.generate(texts(6, 50), options)
    expected = [plain_greedy(model, text, 8) for text in texts(6, 50)]
    # bfloat16 has three digits, so texts may part at near ties; the first byte rarely is one.
    assert sum(a.ids[0] == b[0] for a, b in zip(found, expected, strict=True)) >= 5


def test_sampled_texts_depend_on_the_seed_alone(model):
    inputs = texts(12, 100)
    options = [
        GenerationOptions(max_new_bytes=30, temperature=1.0, top_p=0.95, seed=i, constraint=UTF8())
        for i in range(len(inputs))
    ]
    together = Engine(model, 5).generate(inputs, options)
    order = random.Random(1).sample(range(len(inputs)), len(inputs))
    shuffled = Engine(model, 3).generate([inputs[i] for i in order], [options[i] for i in order])
    assert [together[i].ids for i in order] == [each.ids for each in shuffled]
    undrafted = [GenerationOptions(**(vars(each) | {"drafts": False})) for each in options]
    assert [each.ids for each in Engine(model, 1).generate(inputs, undrafted)] == [
        each.ids for each in together
    ]
    assert "�" not in "".join(each.text for each in together)


def chances(model, text, constraint, temperature, length, least=0.002):
    """The chances of what the first ids may be, by the model's own forward pass.

    Beginnings rarer than `least` are not followed further; they are left out.
    """
    encoded = ByteTokenizer()(text, return_tensors="pt")
    found, open_ones = {}, {(): (1.0, constraint.start())}
    for _ in range(length):
        follow = {}
        for path, (chance, state) in open_ones.items():
            ids = torch.tensor([[0, *path]])
            with torch.no_grad():
                logits = model(**encoded, decoder_input_ids=ids).logits[0, -1] / temperature
            allowed = np.flatnonzero(constraint.allowed(state))
            shares = logits[torch.from_numpy(allowed)].softmax(0).tolist()
            for byte_id, share in zip(allowed.tolist(), shares, strict=True):
                if chance * share < least:
                    continue
                if byte_id == 1 or len(path) + 1 == length:
                    found[*path, byte_id] = chance * share
                else:
                    after = constraint.advance(state, byte_id)
                    follow[*path, byte_id] = (chance * share, after)
        open_ones = follow
    return found


def fit(counts, expected, total):
    """The p value of Pearson's test, everything without an expectation in one class."""
    observed = [counts[path] for path in expected]
    expected = [chance * total for chance in expected.values()]
    rest = total - sum(expected)
    if rest > 5:
        observed.append(total - sum(observed))
        expected.append(rest)
    return chisquare(observed, np.array(expected) * sum(observed) / sum(expected)).pvalue


@pytest.mark.parametrize(
    ("constraint", "length"),
    [
        (Choices([["a", "b", "가", "각", "ab"]]), 9),
        (UTF8(), 2),
        (CopyWithTags("가a", ("L", "LC")), 5),
        (UTF8() & Grammar.regex("[가각나]b?"), 9),
    ],
)
def test_samples_follow_the_renormalized_distribution(tiny_model, constraint, length):
    model = tiny_model()
    model.lm_head.weight.data.mul_(3)  # neither even nor all on one text
    options = [
        GenerationOptions(temperature=1.5, seed=seed, constraint=constraint, max_new_bytes=length)
        for seed in range(2000)
    ]
    generated = Engine(model, 64).generate(["가"] * len(options), options)
    counts = Counter(tuple(each.ids) for each in generated)
    right = chances(model, "가", constraint, 1.5, length)
    assert len(right) > 3
    assert fit(counts, right, len(options)) > 1e-3
    # Had the samples another temperature, the test would tell.
    wrong = chances(model, "가", constraint, 1.1, length)
    wrong = {path: wrong.get(path, 1e-9) for path in right}
    assert fit(counts, wrong, len(options)) < 1e-6


@pytest.mark.slow
def test_a_million_sampled_bytes_are_utf8(tiny_model):
    options = [
        GenerationOptions(max_new_bytes=1000, temperature=1.5, seed=seed, constraint=Endless())
        for seed in range(1000)
    ]
    generated = Engine(tiny_model(), 128).generate(["가"] * len(options), options)
    assert sum(len(each.ids) for each in generated) == 1_000_000
    assert not any("\ufffd" in each.text for each in generated)
    assert len({each.text for each in generated}) == len(options)


def test_streams_say_the_text_in_whole_characters(model):
    engine = Engine(model)
    options = GenerationOptions(max_new_bytes=50, constraint=UTF8())
    requests = [engine.submit(text, options) for text in texts(5, 80)]
    stop = threading.Event()
    worker = threading.Thread(target=engine.run, args=(stop,))
    worker.start()
    try:
        for request in requests:
            pieces = list(request.stream())
            assert "".join(pieces) == request.result(timeout=60).text
            assert len(pieces) > 1
    finally:
        stop.set()
        worker.join()


def test_requests_from_many_threads(model):
    engine = Engine(model, 4)
    inputs = texts(24, 80)
    options = GenerationOptions(max_new_bytes=12)
    expected = [each.ids for each in Engine(model, 1).generate(inputs, options)]
    found = {}

    def ask(first):
        part = engine.generate(inputs[first : first + 6], options)
        found[first] = [each.ids for each in part]

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(0, 24, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ids for first in range(0, 24, 6) for ids in found[first]] == expected


def test_no_more_is_encoded_ahead_than_has_its_turn_soon(model, monkeypatch):
    import kebyt5.generation.engine as module

    encoded = []
    monkeypatch.setattr(
        module, "encode", lambda m, ids, real=module.encode: encoded.extend(ids) or real(m, ids)
    )
    engine = Engine(model, 2)
    requests = [engine.submit("가나", GenerationOptions(max_new_bytes=2)) for _ in range(20)]
    engine.step()
    assert len(encoded) <= 4
    while engine.step():
        pass
    assert len(encoded) == 20  # each once
    assert all(request.result().ids for request in requests)
    assert [request.size for request in requests] == [len(r.result().ids) for r in requests]


def test_cancellation_and_deadline_end_a_text_where_it_is(model):
    engine = Engine(model, 2)
    options = GenerationOptions(max_new_bytes=500, drafts=False, constraint=UTF8())
    long, late, waiting = (
        engine.submit("가", options),
        engine.submit("나", GenerationOptions(max_new_bytes=500, deadline=0.0)),
        engine.submit("다", GenerationOptions(max_new_bytes=3)),
    )
    for _ in range(5):
        engine.step()
    long.cancel()
    while engine.step():
        pass
    assert long.result().finish == "cancelled"
    assert len(long.result().ids) <= 5
    assert (late.result().finish, late.result().text) == ("deadline", "")
    assert waiting.result().finish in ("length", "eos")


def test_a_deadline_ends_a_text_that_is_being_generated(model, monkeypatch):
    engine = Engine(model, 2)
    endless = {"max_new_bytes": 500, "constraint": Endless()}
    late, early = (
        engine.submit("가", GenerationOptions(deadline=deadline, **endless))
        for deadline in (60.0, 1e6)
    )
    for _ in range(5):
        engine.step()
    written = late.size
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    engine.step()
    assert late.done
    assert not early.done
    assert late.result().finish == "deadline"
    assert len(late.result().ids) == written > 0
    assert bytes(i - 3 for i in late.result().ids).decode("utf-8", "ignore") == late.result().text


def test_what_waits_ends_when_it_is_cancelled_though_no_slot_is_free(model):
    engine = Engine(model, 1)
    busy = engine.submit("가", GenerationOptions(max_new_bytes=500, constraint=Endless()))
    waiting = engine.submit("나")
    engine.step()
    waiting.cancel()
    time.sleep(0.05)  # a text that waits is not asked at every pass
    engine.step()
    assert not busy.done
    assert waiting.result(timeout=1).finish == "cancelled"


def test_a_text_cancelled_since_it_was_last_asked_is_not_begun(model, monkeypatch):
    engine = Engine(model, 1)
    cancelled, next_one = (
        engine.submit(text, GenerationOptions(max_new_bytes=1)) for text in "가나"
    )
    monkeypatch.setattr(engine, "_check_due", math.inf)
    cancelled.cancel()
    engine.step()
    assert (cancelled.result().finish, cancelled.size) == ("cancelled", 0)
    assert next_one.done


def test_a_long_queue_is_not_asked_at_every_pass(model, monkeypatch):
    asked = []
    interruption = Request.interruption
    monkeypatch.setattr(
        Request, "interruption", lambda self: asked.append(self) or interruption(self)
    )
    engine, endless = Engine(model, 1), GenerationOptions(max_new_bytes=500, constraint=Endless())
    for _ in range(5000):
        engine.submit("가", endless)
    for _ in range(20):
        engine.step()
    assert 5000 <= len(asked) < 10 * 5000


def test_an_interrupted_call_leaves_nothing_behind(model, monkeypatch):
    engine, steps = Engine(model, 2), []

    def interrupt():
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return type(engine).step(engine)

    monkeypatch.setattr(engine, "step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        engine.generate(["가", "나", "다"], GenerationOptions(max_new_bytes=1000))
    monkeypatch.undo()
    assert not engine.step()


def test_stopping_the_loop_cancels_what_is_left(model):
    engine = Engine(model, 1)
    stop = threading.Event()
    stop.set()
    request = engine.submit("가")
    engine.run(stop)
    assert request.result(timeout=1).finish == "cancelled"


def test_what_comes_after_the_loop_is_cancelled_until_it_runs_again(model):
    engine = Engine(model, 1)
    stop = threading.Event()
    stop.set()
    engine.run(stop)
    assert engine.submit("가").result(timeout=1).finish == "cancelled"
    options = GenerationOptions(max_new_bytes=3)
    assert engine.generate(["가"], options)[0].finish != "cancelled"
    stop.clear()
    thread = threading.Thread(target=engine.run, args=(stop,))
    thread.start()
    while engine._is_stopped:
        time.sleep(0.01)
    assert engine.submit("가", options).result(timeout=60).finish != "cancelled"
    stop.set()
    thread.join()


@pytest.mark.parametrize(
    "place", ["decoder", "decoder.block.0", "decoder.final_layer_norm", "decoder.block.1.layer.2"]
)
def test_hooks_that_would_not_run_are_refused(tiny_model, place):
    model = tiny_model()
    handle = model.get_submodule(place).register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match=rf"{place} has hooks"):
        Engine(model)
    handle.remove()
    Engine(model)


def test_hooks_on_everything_are_those_of_a_measurement(tiny_model):
    with FlopCounterMode(display=False):
        (found,) = Engine(tiny_model()).generate(["가"], GenerationOptions(max_new_bytes=3))
    assert len(found.ids) >= 1


@pytest.mark.parametrize("place", ["lm_head", "decoder.block.0.layer.2.DenseReluDense.wo"])
def test_hooks_on_linear_layers_run_in_every_pass(tiny_model, place):
    model = tiny_model()
    steering = torch.linspace(0, 3, model.get_submodule(place).out_features)
    model.get_submodule(place).register_forward_hook(lambda _, __, output: output + steering)
    assert_as_plain_greedy(
        model, texts(4, 30), [GenerationOptions(max_new_bytes=20)] * 4, max_slots=4
    )


def test_another_activation_than_the_configured_one_counts(tiny_model):
    model = tiny_model()
    for block in model.decoder.block:
        block.layer[2].DenseReluDense.act = torch.nn.ReLU().eval()
        block.layer[2].DenseReluDense.wo.weight.data.mul_(50)
    assert_as_plain_greedy(
        model, texts(4, 30), [GenerationOptions(max_new_bytes=20)] * 4, max_slots=4
    )


def test_infinities_in_half_precision_are_clamped(tiny_model):
    model = tiny_model().half()
    for block in model.decoder.block:
        block.layer[2].DenseReluDense.wo.weight.data.fill_(6e4)
    (found,) = Engine(model).generate(["가나다"], GenerationOptions(max_new_bytes=4))
    encoded = ByteTokenizer()("가나다", return_tensors="pt")
    logits = model(**encoded, decoder_input_ids=torch.tensor([[0, *found.ids[:-1]]])).logits[0]
    assert logits.isfinite().all()
    assert found.ids == logits.argmax(1).tolist()


def test_a_model_in_training_is_refused(tiny_model):
    with pytest.raises(ValueError, match="training mode"):
        Engine(tiny_model().train())
    model = tiny_model()
    model.encoder.train()
    with pytest.raises(ValueError, match="training mode"):
        Engine(model)


@pytest.mark.parametrize("size", [259, 512])
def test_constraints_on_models_of_other_vocabularies(tiny_model, size):
    model = tiny_model(gbst=False, vocab_size=size)
    inputs = texts(4, 30)
    options = [
        GenerationOptions(max_new_bytes=20, constraint=each)
        for each in (UTF8(), Choices([["가", "나"]]), Grammar.regex("[가-힣]+"), UTF8())
    ]
    assert_as_plain_greedy(model, inputs, options, max_slots=2)


def test_stop_texts(model):
    options = GenerationOptions(max_new_bytes=60, constraint=UTF8())
    text = Engine(model).generate(["가나"], options)[0].text
    middle = text[len(text) // 2]
    (found,) = Engine(model).generate(
        ["가나"], GenerationOptions(**(vars(options) | {"stop": (middle,)}))
    )
    assert found.finish == "stop"
    assert found.text == text[: text.index(middle)]


def test_nothing_is_generated_behind_a_stop_text_whatever_drafts_bring():
    model = kebyt5.load("tiny")
    prompt = "오늘은 서울에서 부산까지 기차를 타고 갔다. 바람이 시원하고 하늘이 맑았다."
    (whole,) = Engine(model).generate([prompt])
    assert whole.statistics.bytes_per_pass > 3
    text = whole.text
    for place in range(8, len(text) - 8, 7):
        stop = (text[place - 1 : place + 6], text[place : place + 3])
        end = min(text.index(word) + len(word) for word in stop)
        longest = max(len(word) for word in stop if text[:end].endswith(word))
        for drafts in (True, False):
            options = GenerationOptions(stop=stop, drafts=drafts)
            (found,) = Engine(model).generate([prompt], options)
            assert (found.finish, found.text) == ("stop", text[: end - longest])
            assert found.ids == [byte + 3 for byte in text[:end].encode()]
            assert found.statistics.bytes == len(found.ids)


def test_a_failing_constraint_fails_alone(model):
    engine = Engine(model)
    impossible = Choices([["가나"]]) & Choices([["가다"]])
    good = engine.submit("가", GenerationOptions(max_new_bytes=4))
    bad = engine.submit("나", GenerationOptions(constraint=impossible))
    while engine.step():
        pass
    assert good.result().ids
    with pytest.raises(ConstraintError, match="nothing to generate"):
        bad.result()
    with pytest.raises(ConstraintError):
        list(bad.stream())


def test_a_failing_model_fails_its_requests_and_no_later_ones(model, monkeypatch):
    engine = Engine(model)
    monkeypatch.setattr("kebyt5.generation.engine.encode", lambda *_: 1 / 0)
    with pytest.raises(GenerationError) as error:
        engine.generate(["가"])
    assert isinstance(error.value.__cause__, ZeroDivisionError)
    monkeypatch.undo()
    assert engine.generate(["가"], GenerationOptions(max_new_bytes=3))[0].ids


def test_one_failing_request_does_not_affect_the_others(model):
    impossible = Choices([["가나"]]) & Choices([["가다"]])
    plain = GenerationOptions(max_new_bytes=4)
    options = [plain, GenerationOptions(constraint=impossible), plain]
    engine = Engine(model, 1)
    with pytest.raises(GenerationError, match=r"1 of 3 inputs failed.*1: .*nothing") as error:
        engine.generate(["가", "나", "다"], options)
    first, failed, last = error.value.outcomes
    assert isinstance(failed, ConstraintError)
    assert [first.ids, last.ids] == [each.ids for each in engine.generate(["가", "다"], plain)]


def test_an_input_that_fails_in_the_encoder_fails_alone(model, monkeypatch):
    import kebyt5.generation.engine as module

    def failing(m, inputs, real=module.encode):
        if any(len(ids) == 6 for ids in inputs):
            raise MemoryError("six")
        return real(m, inputs)

    monkeypatch.setattr(module, "encode", failing)
    engine, inputs = Engine(model), ["abcd", "abcde", "abcdef", "ab"]
    requests = [engine.submit(text, GenerationOptions(max_new_bytes=3)) for text in inputs]
    while engine.step():
        pass
    with pytest.raises(MemoryError):
        requests.pop(1).result()
    assert all(request.result().ids for request in requests)


def test_what_is_forced_costs_no_pass(model):
    only = GenerationOptions(constraint=Choices([["정답"]]))
    (found,) = Engine(model).generate(["가"], only)
    assert (found.text, found.finish) == ("정답", "eos")
    assert (found.statistics.passes, found.statistics.forced) == (0, 7)


def test_a_model_whose_logits_are_not_numbers_generates_nothing(tiny_model):
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight[5] = math.nan
    with pytest.raises(GenerationError, match="logits are not numbers"):
        Engine(model).generate(["가"])


class Slow(Constraint):
    """Forces the same byte again and again, and takes its time."""

    def start(self):
        return None

    def allowed(self, state):
        time.sleep(0.001)
        return np.arange(384) == ord("a") + 3

    def advance(self, state, byte_id):
        return None


def test_a_slow_constraint_does_not_hold_up_the_others(tiny_model):
    engine = Engine(tiny_model())
    slow = engine.submit("가", GenerationOptions(max_new_bytes=2_000, constraint=Slow()))
    other = engine.submit("나", GenerationOptions(max_new_bytes=3))
    while not other.done:
        engine.step()
    assert not slow.done
    while engine.step():
        pass
    assert slow.result().text == "a" * 2_000


def test_between_two_passes_one_batch_is_encoded(tiny_model, monkeypatch):
    batches, real = [], Engine._encode
    monkeypatch.setattr(Engine, "_encode", lambda *given: batches.append(given) or real(*given))
    engine = Engine(tiny_model())
    requests = [
        engine.submit("가" * size, GenerationOptions(max_new_bytes=9)) for size in (10, 200, 2_000)
    ]
    more = True
    while more:
        before = len(batches)
        more = engine.step()
        assert len(batches) <= before + 1
    assert len(batches) > 1
    assert all(request.result().ids for request in requests)


def test_a_text_complete_at_the_limit_is_not_cut(model):
    for constraint in (Choices([["abc"]]), Choices([["abc", "xyz"]]), Grammar.regex("abc|xyz")):
        asked = GenerationOptions(constraint=constraint, max_new_bytes=3)
        (found,) = Engine(model).generate(["가"], asked)
        assert (found.text in ("abc", "xyz"), found.finish) == (True, "eos")
        assert (len(found.ids), found.ids[-1]) == (4, 1)
    for constraint in (Choices([["abcd"]]), Grammar.regex("abcd?")):
        asked = GenerationOptions(constraint=constraint, max_new_bytes=3)
        (found,) = Engine(model).generate(["가"], asked)
        assert (found.text, found.finish) == ("abc", "length")


def test_a_grammar_does_not_read_again_what_a_draft_has_read(monkeypatch):
    read = []
    mask = _Walk._mask

    def counted(walk, state):
        last = walk._state and walk._state()
        read.append(state.before is not None and state.before is not last)
        return mask(walk, state)

    monkeypatch.setattr(_Walk, "_mask", counted)
    text = "오늘은 서울에서 부산까지 기차를 타고 갔다. 바람이 시원하고 하늘이 맑았다."
    asked = GenerationOptions(constraint=Grammar.regex(r"(.|\n)*"), max_new_bytes=200)
    (found,) = Engine(kebyt5.load("tiny")).generate([text], asked)
    assert found.statistics.copied > 50
    assert sum(read) <= 2  # where a guess was wrong, and not in all passes that made one


def test_nothing_to_generate_and_bad_requests(model):
    engine = Engine(model)
    assert engine.generate([]) == []
    assert not engine.step()
    with pytest.raises(ValueError, match="2 inputs, but 1 options"):
        engine.generate(["가", "나"], [GenerationOptions()])
    for ids, why in (
        (np.zeros(0, np.int64), "without ids"),
        (np.array([[5, 6, 1]]), r"shape \(1, 3\)"),
        (np.array([5.0, 1.0]), "type float64"),
        (np.array([5, 384, 1]), "id 384 is unknown; the model has ids from 0 to 383"),
        (np.array([5, -1, 1]), "id -1"),
    ):
        with pytest.raises(ValueError, match=why):
            engine.submit(ids)
        with pytest.raises(ValueError, match=why):
            engine.generate(["가", ids])
    assert not engine.step()  # the good neighbours were not queued either
    with pytest.raises(ValueError, match="max_slots"):
        Engine(model, 0)
    with pytest.raises(ValueError, match="one text; give a list"):
        engine.generate("가나")
    with pytest.raises(ValueError, match="stop is 'END'; give a tuple"):
        GenerationOptions(stop="END")
