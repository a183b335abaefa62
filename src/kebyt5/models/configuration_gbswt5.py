"""Configuration of GBST-KEByT5: T5 after gradient-based subword tokenization (GBST)."""

from collections.abc import Sequence
from typing import Any

from transformers import T5Config

PUBLISHED_DEFAULT_BLOCKS = (1, 2, 3, 4, 6, 9)
"""Blocks of a published config.json that names none."""


class GBSWT5Config(T5Config):
    r"""A `T5Config` with the parameters of GBST, read from published `config.json` files as is.

    `T5Config` of Transformers 5 ties every embedding whatever it is given; this class respects
    `tie_word_embeddings`. As in T5, the decoder's output is scaled by
    $d_{model}^{-1/2}$ exactly when `lm_head` is tied.

    Attributes:
        subword_blocks: Candidate blocks, each a size or a pair of size and offset, as
            `[[1, 0], [2, 0], [3, 0], [6, 0], [9, 0]]`; offsets are smaller than their size.
        max_subword_block_size: Largest block size. Without `subword_blocks` the blocks are 1, 2, …
            up to it.
        downsample_factor: Bytes pooled to one encoder position, 1 to the largest block size.
        score_consensus_attn: Whether block scores attend to each other (Charformer, eq. 5).
        gbst_batchnorm: Whether the positional convolution is followed by batch normalization.
        z_loss: Weight of the mean squared log partition function that is added to the loss.

    Raises:
        ValueError: The blocks or the downsampling factor contradict each other.
    """

    model_type = "gbswt5"

    d_model: int = 512
    vocab_size: int = 384
    decoder_start_token_id: int | None = 0
    subword_blocks: list[Any] | tuple[Any, ...] | None = None
    max_subword_block_size: int | None = None
    downsample_factor: int = 1
    score_consensus_attn: bool = True
    gbst_batchnorm: bool = False
    z_loss: float = 1e-4

    def __post_init__(self, **kwargs: Any) -> None:
        tied = kwargs.get("tie_word_embeddings")
        if tied not in (None, True, False):
            raise ValueError(f"tie_word_embeddings: {tied!r} is neither true nor false")
        kwargs.pop("scale_decoder_outputs", None)
        super().__post_init__(**kwargs)
        self.tie_word_embeddings = self.scale_decoder_outputs = tied is not False
        if self.subword_blocks is not None:
            self.subword_blocks = [list(pair) for pair in self.blocks]
        self.check_blocks()

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """The candidate blocks as pairs of size and offset.

        Raises:
            ValueError: `subword_blocks` holds something other than sizes and pairs.
        """
        sizes: Sequence[Any] = PUBLISHED_DEFAULT_BLOCKS
        if self.subword_blocks is not None:
            sizes = self.subword_blocks
        elif self.max_subword_block_size is not None:
            sizes = range(1, self.max_subword_block_size + 1)
        blocks = [block if isinstance(block, list | tuple) else (block, 0) for block in sizes]
        for block in blocks:
            if len(block) != 2 or any(type(number) is not int for number in block):
                raise ValueError(f"subword_blocks: {block} is not a size and offset in bytes")
        return tuple((size, offset) for size, offset in blocks)

    def check_blocks(self) -> None:
        """Refuses blocks and a downsampling factor that contradict each other.

        A model checks them too: `from_pretrained` sets what it overrides one by one.

        Raises:
            ValueError: They contradict each other.
        """
        if not self.blocks:
            raise ValueError("subword_blocks, max_subword_block_size: no block; give sizes from 1")
        for size, offset in self.blocks:
            if size < 1 or not 0 <= offset < size:
                raise ValueError(
                    f"subword_blocks: size {size} with offset {offset}; sizes are from 1 on and"
                    " offsets smaller than their size"
                )
        largest = max(size for size, _ in self.blocks)
        if self.max_subword_block_size not in (None, largest):
            raise ValueError(
                f"max_subword_block_size {self.max_subword_block_size} contradicts"
                f" subword_blocks, whose largest size is {largest}; leave one of them out"
            )
        factor = self.downsample_factor
        if type(factor) is not int or not 1 <= factor <= largest:
            raise ValueError(
                f"downsample_factor {factor} is not in 1…{largest}, the largest block size"
            )


__all__ = ["GBSWT5Config"]
