"""GBST computes Charformer's equations, whatever the padding, the batch and the precision."""

import copy
import os

import pytest
import torch
import torch._dynamo.testing
from hypothesis import given
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from kebyt5.bench.naive_gbst import naive_gbst
from kebyt5.models import native
from kebyt5.models.banded import BandedLookup, BandedProduct
from kebyt5.models.consensus import PolynomialConsensus
from kebyt5.models.fast_path import fast_path
from kebyt5.models.folding import TableKernel, Weights
from kebyt5.models.gbst import GBST

PUBLISHED_BLOCKS = ((1, 0), (2, 0), (3, 0), (6, 0), (9, 0))


def make_gbst(blocks=PUBLISHED_BLOCKS, downsample=3, dim=16, consensus=True, batchnorm=False):
    torch.manual_seed(1)
    gbst = GBST(384, dim, tuple(blocks), downsample, consensus, batchnorm).eval()
    # Large scores tell the blocks apart; fresh ones are nearly equal.
    torch.nn.init.normal_(gbst.scoring.weight)
    if batchnorm:
        bn = gbst.convolution.bn
        torch.nn.init.normal_(bn.running_mean)
        torch.nn.init.uniform_(bn.running_var, 0.5, 2)
    return gbst


@st.composite
def configurations(draw):
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4, unique=True))
    blocks = [(size, draw(st.integers(0, size - 1))) for size in sizes]
    return {
        "blocks": blocks,
        "downsample": draw(st.integers(1, max(sizes))),
        "consensus": draw(st.booleans()),
        "batchnorm": draw(st.booleans()),
    }


@given(configurations(), st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_equals_the_equations_for_any_blocks_offsets_and_right_padding(configuration, lengths):
    gbst = make_gbst(**configuration)
    ids = torch.randint(3, 259, (len(lengths), max(lengths)))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]

    states, states_mask = gbst(ids, mask)
    expected, expected_mask = naive_gbst(gbst, ids, mask)

    assert torch.equal(states_mask, expected_mask)
    torch.testing.assert_close(states, expected, atol=2e-5, rtol=1e-4)


@given(configurations())
def test_gradients_equal_those_of_the_equations(configuration):
    gbst = make_gbst(**configuration)
    ids = torch.randint(3, 259, (2, 40))
    mask = torch.arange(40) < torch.tensor([[40], [23]])
    weights = torch.randn_like(gbst(ids, mask)[0])
    gradients = []
    for compute in (gbst, lambda *inputs: naive_gbst(gbst, *inputs)):
        gbst.zero_grad()
        (compute(ids, mask)[0] * weights).sum().backward()
        gradients.append([p.grad.clone() for p in gbst.parameters()])
    for ours, expected in zip(*gradients, strict=True):
        assert (ours - expected).norm() <= 1e-3 * expected.norm() + 1e-5


@given(st.integers(1, 40), st.lists(st.integers(1, 50), max_size=3), st.integers(0, 2**31))
def test_output_does_not_depend_on_padding_or_neighbours(padding, neighbours, seed):
    gbst = make_gbst()
    generator = torch.Generator().manual_seed(seed)
    alone = torch.randint(3, 259, (1, 31), generator=generator)
    length = max([31 + padding, *neighbours])
    ids = torch.randint(0, 384, (1 + len(neighbours), length), generator=generator)
    ids[0, :31] = alone[0]
    mask = torch.arange(length) < torch.tensor([31, *neighbours])[:, None]

    states, states_mask = gbst(ids, mask)

    expected = gbst(alone)[0][0]
    torch.testing.assert_close(states[0, : len(expected)], expected, atol=1e-5, rtol=0)
    assert states_mask[0].tolist() == [True] * 11 + [False] * (states_mask.shape[1] - 11)


@pytest.mark.parametrize("as_embeddings", [False, True])
def test_left_padding_and_holes_are_closed_up(as_embeddings):
    gbst = make_gbst()
    ids = torch.randint(3, 259, (1, 30))
    spread, mask = torch.full((1, 50), 7), torch.zeros(1, 50)
    places = torch.randperm(50)[:30].sort().values
    spread[0, places], mask[0, places] = ids[0], 1
    if as_embeddings:
        states, states_mask = gbst(attention_mask=mask, inputs_embeds=gbst.embeds(spread))
    else:
        states, states_mask = gbst(spread, mask)
    torch.testing.assert_close(states[:, :10], gbst(ids)[0], atol=1e-5, rtol=0)
    assert states_mask.sum() == 10
    assert torch.equal(states_mask, gbst.downsample_mask(mask))


def test_batch_statistics_leave_padding_out():
    gbst = make_gbst(batchnorm=True).train()
    ids = torch.randint(3, 259, (1, 30))
    alone = gbst(ids)[0]
    padded = torch.nn.functional.pad(ids, (0, 20), value=9)
    states = gbst(padded, torch.arange(50)[None] < 30)[0]
    torch.testing.assert_close(states[:, :10], alone, atol=1e-5, rtol=1e-4)


def test_an_example_without_bytes_harms_no_other():
    gbst = make_gbst()
    ids = torch.randint(3, 259, (2, 20))
    states, mask = gbst(ids, torch.tensor([[1], [0]]).expand(2, 20))
    torch.testing.assert_close(states[0], gbst(ids[:1])[0][0], atol=1e-5, rtol=0)
    assert states.isfinite().all()
    assert not mask[1].any()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 6e-3), (torch.float16, 8e-4)])
@pytest.mark.parametrize("downsample", [3, 6])
def test_half_precision_weights_stay_close_to_float64_on_long_inputs(dtype, bound, downsample):
    # The bound is a few roundings of the representation; prefix sums in half precision or one
    # lost carry would miss it by orders of magnitude.
    blocks = PUBLISHED_BLOCKS if downsample == 3 else [(size, 0) for size in range(1, 10)]
    gbst = make_gbst(blocks, downsample, dim=64).to(dtype)
    ids = torch.randint(3, 259, (1, 6800))
    with torch.no_grad():
        states = gbst(ids)[0]
        exact = copy.deepcopy(gbst).double()(ids)[0]
    assert states.dtype == dtype
    assert (states - exact).norm() <= bound * exact.norm()


def peak_bytes(gbst, length):
    """The most memory that tensors held at once in a forward pass."""
    ids = torch.randint(3, 259, (1, length))
    with (
        torch.no_grad(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler,
    ):
        gbst(ids)
    allocations = list(profiler.profiler.kineto_results.events())
    held = peak = 0
    for event in sorted(allocations, key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def test_memory_is_linear_in_length():
    gbst = make_gbst(dim=32)
    peak_bytes(gbst, 100)
    short, long = peak_bytes(gbst, 2000), peak_bytes(gbst, 8000)
    assert short > 2000 * 32 * 4
    assert long < 4.5 * short


def test_double_precision_is_double_throughout():
    gbst = make_gbst([(1, 0), (3, 1)], 2, dim=3, batchnorm=True).double()
    ids = torch.randint(3, 259, (2, 11))
    mask = torch.arange(11) < torch.tensor([[11], [6]])
    states = gbst(ids, mask)[0]
    assert states.dtype == torch.float64
    torch.testing.assert_close(states, naive_gbst(gbst, ids, mask.double())[0], atol=1e-13, rtol=0)
    embeds = gbst.embeds(ids).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda e: gbst(None, mask, e)[0], embeds)


def test_compiles_once_for_all_lengths():
    gbst = make_gbst()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(gbst, backend=counter, dynamic=True, fullgraph=True)
    for length in (20, 31, 47, 50, 64, 71, 99):
        ids = torch.randint(3, 259, (2, length))
        mask = torch.arange(length) < torch.tensor([[length], [9]])
        torch.testing.assert_close(compiled(ids, mask)[0], gbst(ids, mask)[0])
    assert counter.frame_count <= 3


@pytest.mark.parametrize("inference", [True, False])
def test_a_batch_without_examples(inference):
    with torch.inference_mode(inference):
        states, mask = make_gbst()(torch.zeros(0, 20, dtype=torch.long))
    assert states.shape == (0, 7, 16)
    assert mask.shape == (0, 7)


def test_banded_product_is_differentiated_exactly():
    tiles = torch.randn(4, 3, 10, dtype=torch.float64, requires_grad=True)
    x = torch.randn(4 * 6 + 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: BandedProduct.apply(a, b, 6), (tiles, x))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "exactly one"),
        ({"input_ids": torch.ones(1, 3, dtype=torch.long), "inputs_embeds": torch.ones(1, 3, 16)},
         "exactly one"),
        ({"input_ids": torch.ones(1, 0, dtype=torch.long)}, "at least one byte"),
        ({"input_ids": torch.ones(1, 3, dtype=torch.long), "attention_mask": torch.ones(1, 4)},
         "one mask value per byte"),
    ],
)  # fmt: skip
def test_unusable_inputs_are_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        make_gbst()(**inputs)


# Tables and the polynomial in place of layers


def count_folds(gbst, monkeypatch):
    folds = []
    original = Weights.folded

    def folded(self):
        folds.append(1)
        return original(self)

    monkeypatch.setattr(Weights, "folded", folded)
    return folds


@pytest.mark.parametrize("batchnorm", [False, True])
def test_folded_tables_and_layers_agree(batchnorm, monkeypatch):
    gbst = make_gbst(batchnorm=batchnorm).double()
    ids = torch.randint(3, 259, (3, 70))
    mask = torch.arange(70) < torch.tensor([[70], [41], [2]])
    folds = count_folds(gbst, monkeypatch)
    with torch.no_grad():
        folded = gbst(ids, mask)[0]
    unfolded = gbst(ids, mask)[0]
    assert len(folds) == 1
    monkeypatch.setattr(fast_path, "folded", False)
    layers = gbst(ids, mask)[0]
    torch.testing.assert_close(folded, layers, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(unfolded, layers, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g.embeds.weight.data.mul_(-1),  # which no version counter sees
        lambda g: g.convolution.convol.bias.data.add_(1),
        lambda g: torch.nn.init.normal_(g.convolution.proj.weight),
        lambda g: g.scoring.bias.data.zero_().add_(g.scoring.weight.data.mul_(3).sum()),
        lambda g: g.convolution.bn.running_mean.add_(0.5),
        lambda g: g.double(),
        lambda g: setattr(g, "embeds", torch.nn.Embedding(384, 16)),
        lambda g: g.load_state_dict({k: v * 1.5 for k, v in g.state_dict().items()}),
    ],
)
def test_any_change_of_weights_makes_new_tables(change, monkeypatch):
    gbst = make_gbst(batchnorm=True)
    ids = torch.randint(3, 259, (2, 30))
    folds = count_folds(gbst, monkeypatch)
    with torch.no_grad():
        before = gbst(ids)[0]
        assert torch.equal(gbst(ids)[0], before)
        assert len(folds) == 1
        change(gbst)
        after = gbst(ids)[0]
        assert len(folds) == 2
        expected = naive_gbst(gbst.double(), ids, torch.ones_like(ids).double())[0]
    torch.testing.assert_close(after.double(), expected, atol=1e-4, rtol=1e-4)


def test_frozen_training_reads_folded_tables_and_a_trainable_embedding_does_not(monkeypatch):
    gbst = make_gbst().train()
    ids = torch.randint(3, 259, (1, 30))
    folds = count_folds(gbst, monkeypatch)
    for name, parameter in gbst.named_parameters():
        parameter.requires_grad = name == "embeds.weight"
    gbst(ids)[0].sum().backward()
    assert gbst.embeds.weight.grad.abs().max() > 0
    assert not folds
    gbst.embeds.weight.requires_grad = False
    with torch.inference_mode():
        expected = gbst(ids)[0]
    states = gbst(ids)[0]
    assert not states.requires_grad
    assert not states.is_inference()
    assert len(folds) == 1
    (states * torch.ones(16, requires_grad=True)).sum().backward()
    torch.testing.assert_close(states, expected)


def test_hooked_layers_see_their_inputs():
    gbst = make_gbst()
    ids = torch.randint(3, 259, (1, 30))
    expected = gbst(ids)[0]
    rows = []
    gbst.convolution.proj.register_forward_hook(lambda m, args, out: rows.append(len(args[0])))
    torch.testing.assert_close(gbst(ids)[0], expected, atol=2e-5, rtol=1e-4)
    assert rows[0] >= 30  # every byte, not every third


def test_tables_are_no_part_of_the_state():
    gbst = make_gbst()
    names = gbst.state_dict().keys()
    with torch.no_grad():
        gbst(torch.randint(3, 259, (1, 30)))
    assert gbst.state_dict().keys() == names


@pytest.mark.parametrize("blocks", [2, 4, 5, 6])
@pytest.mark.parametrize("sharpness", [0.1, 3, 30])
def test_polynomial_consensus_is_attention_to_the_precision_of_float32(blocks, sharpness):
    torch.manual_seed(0)
    scores = (torch.randn(2, 300, blocks) * sharpness).requires_grad_()
    keys = (torch.arange(300) < torch.tensor([[300], [170]])).float()
    weights = torch.randn(2, 300, blocks) * keys[..., None]

    exact = scores.double().softmax(-1)
    similarity = (exact @ exact.transpose(1, 2)).masked_fill(keys[:, None] == 0, -torch.inf)
    expected = similarity.softmax(-1) @ exact
    (gradient,) = torch.autograd.grad((expected * weights).sum(), scores)

    output = PolynomialConsensus.apply(scores.softmax(-1), keys)
    torch.testing.assert_close(output.double(), expected, atol=3e-6, rtol=0)
    (found,) = torch.autograd.grad((output * weights).sum(), scores)
    assert (found - gradient).norm() <= 1e-4 * gradient.norm()


def test_long_inputs_take_the_polynomial_and_agree_with_the_equations(monkeypatch):
    gbst = make_gbst()
    ids = torch.randint(3, 259, (1, 900))
    calls = []
    original = PolynomialConsensus.apply
    monkeypatch.setattr(PolynomialConsensus, "apply", lambda *a: calls.append(1) or original(*a))
    states = gbst(ids)[0]
    assert calls
    torch.testing.assert_close(
        states, naive_gbst(gbst, ids, torch.ones_like(ids))[0], atol=2e-5, rtol=1e-4
    )
    gbst(ids[:, :200])
    assert len(calls) == 1  # where the matrix is smaller than the monomials


def test_banded_lookup_is_differentiated_exactly():
    tiles = torch.randn(4, 3, 10, dtype=torch.float64, requires_grad=True)
    table = torch.randn(2, 7, 5, dtype=torch.float64, requires_grad=True)
    ids = torch.randint(0, 7, (4 * 6 + 4 + 1,))
    assert torch.autograd.gradcheck(lambda a, t: BandedLookup.apply(a, t, ids, 6), (tiles, table))
    x = table[0, ids[:-1]] + table[1, ids[1:]]
    torch.testing.assert_close(
        BandedLookup.apply(tiles, table, ids, 6), BandedProduct.apply(tiles, x, 6)
    )


def test_a_rehearsal_and_inference_leave_nothing_behind_for_training():
    from torch._subclasses.fake_tensor import FakeTensorMode

    # Block sizes that no other test has, so that whatever is cached is made here first.
    blocks = ((1, 0), (2, 0), (5, 0))
    with FakeTensorMode():
        gbst = GBST(40, 8, blocks, 2)
        gbst(torch.randint(0, 40, (1, 400)))
    torch.manual_seed(0)
    gbst = GBST(40, 8, blocks, 2)
    ids = torch.randint(0, 40, (1, 400))
    with torch.inference_mode():
        before, _ = gbst(ids)
    output, _ = gbst(ids)
    output.sum().backward()
    assert type(output) is torch.Tensor
    assert torch.allclose(output, before, atol=1e-6)
    assert all(p.grad is not None for p in gbst.parameters())


@given(
    configurations(),
    st.lists(st.integers(0, 120), min_size=1, max_size=4),
    st.sampled_from([8, 16, 37]),
    st.sampled_from([1, 2]),
)
def test_compiled_functions_say_what_pytorch_says(configuration, lengths, dim, threads):
    gbst, longest = make_gbst(**configuration, dim=dim), max(*lengths, 1)
    ids = torch.randint(0, 384, (len(lengths), longest))
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    before, found = torch.get_num_threads(), []
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        chosen = calls_of(patch, TableKernel, "choose")
        try:
            torch.set_num_threads(threads)
            for kernels in (True, False):
                patch.setattr(fast_path, "kernels", kernels)
                found.append(gbst(ids, mask)[0])
        finally:
            torch.set_num_threads(before)
    assert len(chosen) == (native.library() is not None)
    torch.testing.assert_close(*found, atol=2e-6, rtol=2e-5)


@pytest.mark.skipif(
    native.library() is None and "CI" not in os.environ,
    reason="kebyt5 was installed without a C compiler, or this is no Linux on x86-64",
)
def test_so_does_every_variant(variant, monkeypatch):
    gbst, ids = make_gbst(dim=40), torch.randint(3, 259, (2, 700))
    mask = torch.arange(700) < torch.tensor([[700], [390]])
    chosen = calls_of(monkeypatch, TableKernel, "choose")
    with torch.inference_mode():
        found = gbst(ids, mask)[0]
        assert len(chosen) == 1
        monkeypatch.setattr(fast_path, "kernels", False)
        torch.testing.assert_close(found, gbst(ids, mask)[0], atol=2e-6, rtol=2e-5)


@pytest.mark.parametrize("wrong", [-1, 384, 2**40])
def test_ids_that_there_are_not_are_refused(wrong):
    gbst, ids = make_gbst(), torch.randint(3, 259, (1, 50))
    ids[0, 30] = wrong
    with pytest.raises(IndexError), torch.inference_mode():
        gbst(ids)


def test_ids_are_of_the_vocabulary_that_the_embedding_has_now():
    gbst, ids = make_gbst(), torch.full((1, 50), 99)
    gbst.embeds.weight = torch.nn.Parameter(torch.randn(100, 16))
    with torch.inference_mode():
        assert gbst(ids)[0].isfinite().all()
        with pytest.raises(IndexError, match="id 100 is not in a vocabulary of 100"):
            gbst(ids + 1)
        # What the mask leaves out may be anything.
        padded = torch.nn.functional.pad(ids, (0, 4), value=-100)
        assert torch.equal(gbst(padded, padded > 0)[0][:, :17], gbst(ids)[0])


def test_defaults_of_the_process_and_other_devices_are_no_matter():
    gbst, ids = make_gbst(), torch.randint(3, 259, (2, 50))
    with torch.inference_mode():
        expected = gbst(ids)[0]
        try:
            torch.set_default_dtype(torch.bfloat16)
            torch.set_default_device("meta")
            assert torch.equal(gbst(ids)[0], expected)
        finally:
            torch.set_default_dtype(torch.float32)
            torch.set_default_device(None)
        with pytest.raises(RuntimeError, match="device"):
            gbst(ids.to("meta"))


def calls_of(monkeypatch, kind, name):
    """Collects the calls of a method."""
    called, real = [], getattr(kind, name)

    def method(self, *arguments):
        called.append(self)
        return real(self, *arguments)

    monkeypatch.setattr(kind, name, method)
    return called
