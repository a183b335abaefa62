"""`kebyt5 export`."""

from pathlib import Path

from kebyt5.errors import InputError


def export(checkpoint: str, output: Path) -> None:
    r"""Write a hub folder that loads with plain Transformers, without kebyt5 installed.

    ```bash
    kebyt5 export runs/ner my-ner-model
    python -c "from transformers import AutoModelForSeq2SeqLM as A; \
      A.from_pretrained('my-ner-model', trust_remote_code=True)"
    ```

    Args:
        checkpoint: A folder or a name on the hub.
        output: A new folder.
    """
    from kebyt5.models.conversion import export as write
    from kebyt5.models.loading import load
    from kebyt5.output import new_folder

    with new_folder(output) as folder:
        model = load(checkpoint)
        try:
            write(model, folder)
        except ValueError as error:
            raise InputError(f"{checkpoint}: {error}") from error
    print(f"Written to {output}")
