"""Converts checkpoints: puts GBST in front of a plain model, exports folders for the hub."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, T5Config, T5ForConditionalGeneration
from transformers.dynamic_module_utils import get_relative_import_files

from .configuration_gbswt5 import GBSWT5Config
from .gbst import GBST
from .loading import save_checkpoint
from .modeling_gbswt5 import GBSWT5ForConditionalGeneration
from .presets import BLOCKS, DOWNSAMPLE

AUTO_MAP = {
    "AutoConfig": "configuration_gbswt5.GBSWT5Config",
    "AutoModel": "modeling_gbswt5.GBSWT5Model",
    "AutoModelForSeq2SeqLM": "modeling_gbswt5.GBSWT5ForConditionalGeneration",
    "AutoModelForTextEncoding": "modeling_gbswt5.GBSWT5EncoderModel",
}


def add_gbst(
    model: PreTrainedModel,
    blocks: Sequence[int | Sequence[int]] | None = None,
    downsample_factor: int | None = None,
    seed: int = 0,
) -> GBSWT5ForConditionalGeneration:
    """Puts GBST in front of a plain model's encoder; every other tensor is copied.

    GBST starts as mean pooling of `downsample_factor` bytes, so that the encoder reads familiar
    vectors from the first step on.

    Args:
        model: A ByT5 or KEByT5 model.
        blocks: Candidate blocks, sizes or pairs of size and offset; the published if None.
        downsample_factor: Bytes per encoder position; the published if None.
        seed: Seed of the noise in GBST's initial parameters.

    Raises:
        ValueError: `model` is not a plain T5, has GBST already, or the blocks contradict the
            factor.
    """
    if isinstance(model.config, GBSWT5Config):
        raise ValueError("the model has GBST already")
    if not isinstance(model, T5ForConditionalGeneration):
        raise ValueError(f"{type(model).__name__} is not a T5 with encoder, decoder and lm_head")
    shape = {
        key: value
        for key, value in model.config.to_dict().items()
        if key in T5Config().to_dict() and key not in ("model_type", "architectures")
    }
    # T5Config forgets whether embeddings were to be tied; this flag remembers.
    shape["tie_word_embeddings"] = model.config.scale_decoder_outputs
    config = GBSWT5Config(
        **shape,
        subword_blocks=list(BLOCKS if blocks is None else blocks),
        downsample_factor=DOWNSAMPLE if downsample_factor is None else downsample_factor,
        z_loss=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        converted = GBSWT5ForConditionalGeneration(config)
        _start_as_mean_pooling(converted.encoder.embed_tokens)
    tensors = model.state_dict()
    tensors.pop("encoder.embed_tokens.weight")
    missing, unexpected = converted.load_state_dict(tensors, strict=False)
    if unexpected or any(not name.startswith("encoder.embed_tokens.") for name in missing):
        raise ValueError(f"the model's tensors are not those of a ByT5: {missing + unexpected}")
    converted.tie_weights()
    return converted.eval()


@torch.no_grad()
def _start_as_mean_pooling(gbst: GBST) -> None:
    """Makes X the embedding plus a little noise from the bytes ahead."""
    weight = gbst.convolution.convol.weight
    weight *= 0.02
    weight[:, 0, 0] += 1


def export(model: PreTrainedModel, directory: str | os.PathLike[str]) -> None:
    """Writes a folder for the hub that needs nothing but Transformers to load.

    A GBST model ships its own code, for `trust_remote_code=True`; a plain one is a T5 to
    Transformers and needs none.

    Args:
        model: The model to export.
        directory: An empty folder (see `kebyt5.output.make_output_folder`) or a new one.

    Raises:
        ValueError: A plain model has int8 weights, which T5 of Transformers cannot load.
    """
    if getattr(model.config, "int8", False) and not isinstance(model.config, GBSWT5Config):
        raise ValueError(
            "its weights are int8, which T5 of Transformers would take for plain numbers;"
            " export the checkpoint that it was made of"
        )
    directory = Path(directory)
    save_checkpoint(model, directory)
    # Without trust_remote_code the tokenizer of Transformers is used; it gives the same ids.
    tokenizer_changes: dict[str, Any] = {"tokenizer_class": "ByT5Tokenizer"}
    config_changes: dict[str, Any] = {"architectures": ["T5ForConditionalGeneration"]}
    if isinstance(model.config, GBSWT5Config):
        for path in _remote_code():
            shutil.copy(path, directory)
        tokenizer_changes["auto_map"] = {
            "AutoTokenizer": ["tokenization_kebyt5.ByteTokenizer", None]
        }
        config_changes = {"auto_map": AUTO_MAP}
    _update_json(directory / "tokenizer_config.json", tokenizer_changes)
    _update_json(directory / "config.json", config_changes)


def _remote_code() -> set[Path]:
    """The modules of model and tokenizer, and all that these import from beside them."""
    entries = [
        Path(__file__).with_name(name) for name in ("modeling_gbswt5.py", "tokenization_kebyt5.py")
    ]
    imported = (path for entry in entries for path in get_relative_import_files(entry))
    return {*entries, *map(Path, imported)}


def _update_json(path: Path, changes: dict[str, Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


__all__ = ["add_gbst", "export"]
