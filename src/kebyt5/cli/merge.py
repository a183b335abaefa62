"""`kebyt5 merge`."""

from pathlib import Path

from kebyt5.errors import InputError


def merge(*checkpoints: str, output: Path, weights: str | None = None) -> None:
    r"""Fold a LoRA adapter into its base model, or average several checkpoints.

    The result is a standalone checkpoint in float32 safetensors, with a model card that names its
    parts.

    ```bash
    kebyt5 merge runs/ner-lora --output ner-merged
    kebyt5 merge runs/seed-0 runs/seed-1 runs/seed-2 --output mean
    kebyt5 merge runs/a runs/b --weights 3,1 --output three-quarters-a
    ```

    Args:
        checkpoints: An adapter's folder, or several checkpoints of one architecture, adapters
            among them: folders or names on the hub.
        output: A new folder.
        weights: Weight of each checkpoint in the average, separated by commas; by default equal.
    """
    from kebyt5.models.loading import save_checkpoint
    from kebyt5.models.merging import merge as run
    from kebyt5.models.merging import merge_card
    from kebyt5.output import new_folder, write_text
    from kebyt5.provenance import provenance

    if not checkpoints:
        raise InputError("give an adapter's folder or several checkpoints to merge")
    try:
        numbers = [float(number) for number in weights.split(",")] if weights else None
    except ValueError as error:
        raise InputError(f"--weights {weights}: give numbers such as 3,1") from error
    with new_folder(output) as folder:
        model = run(checkpoints, numbers)
        save_checkpoint(model, folder)
        write_text(folder / "README.md", merge_card(checkpoints, numbers, provenance()))
    print(f"Written to {output}: {sum(p.numel() for p in model.parameters()):,} parameters")
