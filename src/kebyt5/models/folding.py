r"""GBST's embedding, convolution and projection as lookup tables.

A depthwise convolution of embeddings is a sum of table entries: with $T_k = \mathrm{diag}(w_k)
E^\top$, $c_t = b + \sum_k T_k[x_{t+k}]$. The projection is linear as well; as it acts on
dimensions and the mix of blocks on positions, either may come first:

* In training the mix comes first and the projection sees one position in `downsample_factor`.
* With constant weights the projection folds into the tables, $P\,\mathrm{diag}(w_k) E^\top$.

A block's score is linear in X and needs one number per byte: the sum of K entries of small tables.
Without gradients, compiled functions (`csrc/gbst.c`) do everything on these tables.
"""

import ctypes
from collections.abc import Sequence
from ctypes import c_double, c_int64, c_void_p
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .native import call, is_readable, use_native

if TYPE_CHECKING:
    from .gbst import GBST


class Tables(NamedTuple):
    """Tables in place of the layers before the mix.

    Attributes:
        rows: (K, V + 1, D); masked bytes read the last row of each, which is zero.
        bias: (D,), added to each mixed position.
        scalars: (V + 1, K), what each byte contributes to the score sequence.
        constant: Added to each element of the score sequence.
    """

    rows: Tensor
    bias: Tensor
    scalars: Tensor
    constant: Tensor


class Weights(NamedTuple):
    """The parameters that the tables are made of, in float32 or better."""

    embedding: Tensor  # (V, D)
    taps: Tensor  # (D, K)
    taps_bias: Tensor  # (D,)
    projection: Tensor  # (D, D)
    projection_bias: Tensor  # (D,)
    score: Tensor  # (D,)
    score_bias: Tensor  # (1,)

    @classmethod
    def of(cls, gbst: "GBST") -> "Weights":
        """Reads them from the layer; running statistics of batch normalization are folded in."""
        convolution, scoring = gbst.convolution, gbst.scoring
        convol, proj = convolution.convol, convolution.proj
        assert convol.bias is not None  # this layer makes both with a bias
        assert proj.bias is not None
        dtype = torch.promote_types(gbst.embeds.weight.dtype, torch.float32)
        taps, taps_bias = convol.weight[:, 0].to(dtype), convol.bias.to(dtype)
        if (bn := convolution.bn) is not None:
            assert bn.running_var is not None
            assert bn.running_mean is not None
            scale = bn.weight.to(dtype) * (bn.running_var.to(dtype) + bn.eps).rsqrt()
            taps = taps * scale[:, None]
            taps_bias = (taps_bias - bn.running_mean.to(dtype)) * scale + bn.bias.to(dtype)
        return cls(
            gbst.embeds.weight.to(dtype),
            taps,
            taps_bias,
            proj.weight[:, :, 0].to(dtype),
            proj.bias.to(dtype),
            scoring.weight[0].to(dtype),
            scoring.bias.to(dtype),
        )

    def tables(self) -> Tables:
        """Tables without the projection, which the caller applies to the mixed rows."""
        through = self.score @ self.projection
        rows = F.pad(self.taps.t()[:, None] * self.embedding, (0, 0, 0, 1))
        scalars = F.pad(self.embedding @ (through[:, None] * self.taps), (0, 0, 0, 1))
        constant = through @ self.taps_bias + self.score @ self.projection_bias + self.score_bias
        return Tables(rows, self.taps_bias, scalars, constant)

    def folded(self) -> Tables:
        """Tables that include the projection."""
        tables = self.tables()
        bias = F.linear(self.taps_bias, self.projection, self.projection_bias)
        return tables._replace(rows=F.linear(tables.rows, self.projection), bias=bias)


class FoldedTables:
    """Folded tables, cached until the weights change.

    The weights are compared with copies, which takes a few milliseconds for the base shape: version
    counters miss changes through `parameter.data`.
    """

    def __init__(self) -> None:
        self.made_of: tuple[Tensor, ...] = ()
        self.tables: Tables | None = None

    @torch.inference_mode(False)  # as a training step may read them
    @torch.no_grad()
    def get(self, gbst: "GBST") -> Tables:
        """The tables for the layer's current weights."""
        sources = (*gbst.parameters(), *gbst.buffers())
        same = len(sources) == len(self.made_of) and all(
            a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
            for a, b in zip(sources, self.made_of, strict=True)
        )
        if self.tables is None or not same:
            self.tables = Weights.of(gbst).folded()
            self.made_of = tuple(source.detach().clone() for source in sources)
        return self.tables


class _Tables(ctypes.Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("rows", "bias", "scalars", "blocks")),
        *((name, c_int64) for name in ("taps", "ids", "width", "choices", "downsample")),
        ("constant", c_double),
    ]


class TableKernel:
    """Chooses and mixes blocks of right-padded texts (B, L) by compiled functions.

    Args:
        tables: Folded tables, float32.
        blocks: M pairs of size and offset.
        downsample_factor: Bytes per output position, d.
        ids: (B, L), each in the vocabulary.
        lengths: Bytes of each text that count, (B,), int64, at most L.
    """

    def __init__(
        self,
        tables: Tables,
        blocks: Sequence[tuple[int, int]],
        downsample_factor: int,
        ids: Tensor,
        lengths: Tensor,
    ) -> None:
        self._ids = ids.to(torch.int64).contiguous()
        self._lengths = lengths
        places = torch.tensor(blocks, dtype=torch.int64, device=ids.device)
        # Kept alive, as the structure holds their addresses.
        self._alive = (tables.rows, tables.bias, tables.scalars, places)
        self._structure = _Tables(
            *(each.data_ptr() for each in self._alive),
            *tables.rows.shape,
            len(blocks),
            downsample_factor,
            tables.constant.item(),
        )

    @staticmethod
    def fits(tables: Tables, ids: Tensor) -> bool:
        """Whether the compiled functions take these; all else is left to PyTorch."""
        return use_native(*tables) and (
            is_readable(ids, torch.int32) or is_readable(ids, torch.int64)
        )

    def choose(self) -> Tensor:
        """The softmax over blocks at every byte, (B, L, M); uniform in the padding.

        Raises:
            MemoryError: There is no memory for the scores.
        """
        # Not `torch.empty`, whose default dtype and device may differ.
        choices = self._alive[0].new_empty(*self._ids.shape, self._structure.choices)
        self._call("choose_blocks", choices)
        return choices

    def mix(self, choices: Tensor) -> Tensor:
        """Mixes blocks by choices (B, L, M) to (B, ceil(L / d), D), zero after the end of a text.

        Raises:
            MemoryError: There is no memory for the rows of the bytes.
        """
        outputs = -(-self._ids.shape[1] // self._structure.downsample)
        mixed = self._alive[0].new_empty(len(self._ids), outputs, self._structure.width)
        self._call("mix_blocks", choices.contiguous(), mixed)
        return mixed

    def _call(self, function: str, *others: Tensor) -> None:
        texts = (self._ids, self._lengths, *self._ids.shape)
        if not call(function, self._structure, *texts, *others):
            raise MemoryError(f"no memory for {self._ids.numel()} bytes")


def check_ids(ids: Tensor, vocabulary: int) -> None:
    """Refuses ids that an embedding would refuse: tables have an extra row, and C checks nothing.

    Raises:
        IndexError: An id is not in the vocabulary. Checked on CPUs only.
    """
    if ids.device.type != "cpu" or type(ids) is not Tensor or not ids.numel():
        return
    least, most = (int(bound.item()) for bound in ids.aminmax())
    if least < 0 or most >= vocabulary:
        wrong = least if least < 0 else most
        raise IndexError(f"id {wrong} is not in a vocabulary of {vocabulary}")


def is_constant(gbst: nn.Module) -> bool:
    """Whether the layer's parameters need no gradient."""
    return not torch.is_grad_enabled() or not any(p.requires_grad for p in gbst.parameters())
