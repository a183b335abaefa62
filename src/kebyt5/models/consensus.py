r"""Consensus between block choices in linear time.

Charformer (eq. 5) lets the block distributions $p_t$ of a sequence attend to each other:
$\hat p_t = \sum_s e^{p_t \cdot p_s} p_s / \sum_s e^{p_t \cdot p_s}$, quadratic in the length. But
a distribution over M blocks has few dimensions, and the product of two of them lies in [0, 1],
where a polynomial of degree 6 is as good as exp: its largest error is 4e-8, less than the
spacing of float32. A polynomial of a scalar product is a scalar product of monomials, so both
sums become one product with a matrix that does not depend on t.

With y the coordinates of p - 1/M in the M - 1 dimensions orthogonal to (1, …, 1),
$p_t \cdot p_s = 1/M + y_t \cdot y_s$, and the constant cancels. There are
$\binom{M + 5}{6}$ monomials of degree 6 or less: 210 for five blocks, 3,003 for nine.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev, polynomial
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

DEGREE = 6
"""Degree of the polynomial in place of exp."""


def monomial_count(blocks: int) -> int:
    """Number of monomials of degree `DEGREE` or less in blocks - 1 variables."""
    return math.comb(blocks - 1 + DEGREE, DEGREE)


# Cached as arrays: a tensor made in inference or fake-tensor mode would keep that mode.
@lru_cache
def _coordinates(blocks: int) -> NDArray[np.float32]:
    """An orthonormal basis (M - 1, M) of the vectors whose entries sum to zero."""
    centred = np.eye(blocks) - 1 / blocks
    return np.linalg.svd(centred)[2][: blocks - 1].astype(np.float32)


@lru_cache
def _coefficients(blocks: int) -> NDArray[np.float32]:
    """The weight of each monomial with which their products add up to exp(y · y')."""
    low = -1 / blocks  # the smallest y · y', of two disjoint distributions
    fit = chebyshev.Chebyshev.interpolate(np.exp, DEGREE, domain=[low, low + 1])
    powers = polynomial.Polynomial(fit.convert(kind=polynomial.Polynomial).coef).coef
    weights = []
    exponents, ends = [(0,) * (blocks - 1)], [1] * (blocks - 1)
    for degree in range(DEGREE + 1):
        for exponent in exponents:
            multiplicity = math.factorial(degree) / math.prod(map(math.factorial, exponent))
            weights.append(powers[degree] * multiplicity)
        exponents, ends = _next_exponents(exponents, ends)
    return np.array(weights, np.float32)[:, None]


def _to_tensor(array: NDArray[np.float32], like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like.device)


def _next_exponents(
    exponents: list[tuple[int, ...]], ends: list[int]
) -> tuple[list[tuple[int, ...]], list[int]]:
    following, following_ends = [], []
    for variable, end in enumerate(ends):
        for exponent in exponents[:end]:
            raised = list(exponent)
            raised[variable] += 1
            following.append(tuple(raised))
        following_ends.append(len(following))
    return following, following_ends


def monomials(y: Tensor) -> Tensor:
    """All monomials of degree `DEGREE` or less in V variables: maps (V, L) to (F, L).

    The monomials of one degree are ordered by their last variable. Those of the next degree whose
    last variable is i are variable i times a leading slice of the previous degree: the monomials
    whose last variable is at most i.
    """
    previous = torch.ones_like(y[:1])
    levels, ends = [previous], [1] * len(y)
    for _ in range(DEGREE):
        parts = [y[i] * previous[:end] for i, end in enumerate(ends)]
        ends = list(np.cumsum([len(part) for part in parts]))
        previous = torch.cat(parts)
        levels.append(previous)
    return torch.cat(levels)


def _consensus(p: Tensor, keys: Tensor) -> Tensor:
    """The consensus (M, L) of one sequence (M, L), over the positions where keys (L,) is 1."""
    blocks = p.shape[0]
    features = monomials(_to_tensor(_coordinates(blocks), p) @ p)
    values = torch.cat([p, torch.ones_like(p[:1])]) * keys
    sums = _to_tensor(_coefficients(blocks), p) * (features @ values.t())
    result = sums.t() @ features
    return result[:-1] / result[-1:]


class PolynomialConsensus(torch.autograd.Function):
    """Consensus of (B, L, M) over the positions where keys (B, L) is 1, example by example.

    The backward pass recomputes an example's monomials instead of storing them.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, keys: Tensor) -> Tensor:
        """Attends within every example."""
        ctx.save_for_backward(weights, keys)
        outputs = [_consensus(p.t(), k).t() for p, k in zip(weights, keys, strict=True)]
        return torch.stack(outputs) if outputs else weights.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Differentiates with respect to the weights."""
        weights, keys = ctx.saved_tensors
        grads = torch.empty_like(weights)
        for i in range(len(weights)):
            with torch.enable_grad():
                p = weights[i].t().contiguous().requires_grad_()
                output = _consensus(p, keys[i])
            (part,) = torch.autograd.grad(output, p, grad[i].t())
            grads[i] = part.t()
        return grads, None
