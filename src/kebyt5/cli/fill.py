"""`kebyt5 fill`."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveInt


def fill(
    text: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    checkpoint: str = "tiny",
    num_beams: PositiveInt = 8,
    results: PositiveInt = 5,
    max_bytes: PositiveInt = 48,
    device: str = "cpu",
) -> None:
    r"""Fill the blanks of a text with a pretrained model, the likeliest filling first.

    Each filling is one line with its log-likelihood, in which control characters are escaped.

    ```bash
    kebyt5 fill "한국의 수도는 <extra_id_0>이다."
    kebyt5 fill "<extra_id_0>에 비가 <extra_id_1>." --checkpoint runs/pretrained --results 3
    ```

    Args:
        text: Text with the blanks `<extra_id_0>`, `<extra_id_1>`, … in this order, at most 11.
        checkpoint: A folder, a name on the hub, or `tiny`, the model that kebyt5 ships.
        num_beams: Width of the beam search.
        results: Number of fillings to print, no more than beams.
        max_bytes: Longest span in bytes; a Korean syllable has 3.
        device: Device to compute on: `cpu`, or a GPU by its name in PyTorch, such as `cuda` or
            `cuda:1`.
    """
    from kebyt5.devices import move, require_device
    from kebyt5.generation import Engine
    from kebyt5.generation.fill import fill as run
    from kebyt5.models.loading import load

    the_device = require_device(device)
    engine = Engine(move(load(checkpoint), the_device))
    for filling in run(engine, text, num_beams, results, max_bytes):
        print(f"{filling.log_likelihood:8.2f}  {_in_a_line(filling.text)}")


def _in_a_line(text: str) -> str:
    """Escapes line breaks, control characters and backslashes as Python does."""
    return "".join(
        character
        if character.isprintable() and character != "\\"
        else character.encode("unicode_escape").decode()
        for character in text
    )
