"""`kebyt5 convert`."""

from pathlib import Path

from kebyt5.errors import InputError


def convert(
    checkpoint: str,
    output: Path,
    *,
    gbst: bool = False,
    blocks: str | None = None,
    downsample: int | None = None,
    seed: int = 0,
) -> None:
    r"""Rewrite a checkpoint as float32 safetensors, or warm-start a GBST model from a plain one.

    With `--gbst`, GBST is put in front of a ByT5 or KEByT5 encoder, where it first acts as mean
    pooling; every tensor of the plain model is kept. The result needs further pretraining.

    ```bash
    kebyt5 convert google/byt5-base byt5-base-gbst --gbst
    kebyt5 convert google/byt5-base byt5-base-faster --gbst --blocks \
      1,2,3,4,5,6,7,8,9 --downsample 6
    kebyt5 convert old-folder-with-pytorch_model.bin new-folder
    ```

    Args:
        checkpoint: A folder or a name on the hub.
        output: A new folder.
        gbst: Put GBST in front of the encoder.
        blocks: Candidate block sizes of GBST in bytes, separated by commas, by default 1,2,3,6,9;
            `4:1` is a size with an offset.
        downsample: Bytes per encoder position, by default 3.
        seed: Seed of the noise in GBST's initial parameters.
    """
    from kebyt5.models.conversion import add_gbst
    from kebyt5.models.loading import load_float, save_checkpoint
    from kebyt5.output import new_folder

    if (blocks, downsample, seed) != (None, None, 0) and not gbst:
        raise InputError(
            f"--blocks, --downsample, --seed: {checkpoint} gets no new GBST; give --gbst"
        )
    sizes = None if blocks is None else _sizes(blocks)
    with new_folder(output) as folder:
        model = load_float(checkpoint)
        if gbst:
            try:
                model = add_gbst(model, sizes, downsample, seed)
            except ValueError as error:
                raise InputError(f"{checkpoint}: {error}") from error
        save_checkpoint(model, folder)
    print(f"Written to {output}: {sum(p.numel() for p in model.parameters()):,} parameters")


def _sizes(blocks: str) -> list[list[int]]:
    """Parses block sizes with their offsets."""
    try:
        pairs = [[int(number) for number in block.split(":")] for block in blocks.split(",")]
    except ValueError as error:
        raise InputError(f"--blocks {blocks}: give sizes such as 1,2,3,6,9") from error
    return [pair if len(pair) == 2 else [*pair, 0] for pair in pairs]
