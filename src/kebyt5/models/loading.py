"""Loading any published or own checkpoint, on a strict reading: all tensors or an error."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, T5ForConditionalGeneration

from .modeling_gbswt5 import GBSWT5ForConditionalGeneration
from .modeling_kebyt5 import KEByT5ForConditionalGeneration

ARCHITECTURES: dict[str, type[T5ForConditionalGeneration]] = {
    "gbswt5": GBSWT5ForConditionalGeneration,
    "t5": KEByT5ForConditionalGeneration,
}


SHIPPED = {"tiny": Path(__file__).parents[1] / "assets" / "tiny"}
"""Checkpoints that come with the package, by name."""


class CheckpointError(ValueError):
    """A checkpoint cannot be loaded; the message names it, the cause and the remedy."""


def load(
    name_or_path: str | os.PathLike[str],
    dtype: torch.dtype = torch.float32,
    **kwargs: Any,
) -> PreTrainedModel:
    """Loads a KEByT5, GBST-KEByT5 or ByT5 checkpoint for inference or training.

    A LoRA adapter is merged into its base model.

    Args:
        name_or_path: A folder, read without any network call, a name on the hub, or "tiny", the
            small GBST model that comes with the package.
        dtype: Of the weights. Checkpoints are stored in half precision to save space, which
            is too coarse to fine-tune in; hence float32 unless asked otherwise.
        **kwargs: As for `from_pretrained`, e.g. `device_map`, `attn_implementation`.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: No such checkpoint, another architecture, tensors that are missing, left
            over or misshapen, or a pickle that holds more than tensors.
    """
    source = str(SHIPPED.get(str(name_or_path), name_or_path))
    if is_local := os.path.isdir(source):
        kwargs["local_files_only"] = True
        adapter = Path(source) / "adapter_config.json"
        if adapter.exists():
            return _load_adapter(adapter, dtype, kwargs)
    elif os.path.exists(source) or source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise CheckpointError(f"{source}: no such folder; give a checkpoint folder or a hub name")
    try:
        model_class = ARCHITECTURES[_model_type(source, kwargs)]
        model, info = model_class.from_pretrained(
            source, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(_explain(source, is_local, error)) from error
    _require_all_tensors(source, info)
    model.name_or_path = str(name_or_path)
    return model.eval()


def _model_type(source: str, kwargs: dict[str, Any]) -> str:
    from transformers import PreTrainedConfig

    config, _ = PreTrainedConfig.get_config_dict(source, **kwargs)
    model_type = config.get("model_type")
    if model_type not in ARCHITECTURES:
        raise CheckpointError(
            f"{source}: a checkpoint of architecture {model_type!r}, which is none of"
            f" {', '.join(ARCHITECTURES)}; kebyt5 loads ByT5, KEByT5 and GBST-KEByT5 models"
        )
    return model_type


def _require_all_tensors(source: str, info: dict[str, Any]) -> None:
    """Refuses what Transformers only warns of: weights that stay random or are dropped."""
    problems = [
        (info["missing_keys"], "are missing"),
        (info["unexpected_keys"], "belong to no parameter"),
        ([key for key, *_ in info["mismatched_keys"]], "have another shape than config.json says"),
    ]
    for keys, problem in problems:
        if keys:
            names = ", ".join(sorted(keys)[:3]) + (", …" if len(keys) > 3 else "")
            raise CheckpointError(
                f"{source}: {len(keys)} tensors {problem} ({names}); the file is damaged or does"
                " not belong to this config.json"
            )


def _explain(source: str, is_local: bool, error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
        return (
            f"{source}: pytorch_model.bin holds more than tensors and could run code; it is not"
            " loaded. Ask its author for safetensors"
        )
    cause = " ".join(str(error).split())
    if is_local:
        return f"{source}: cannot be loaded as a checkpoint: {cause}"
    return f"{source}: is no folder here and cannot be had from the hub: {cause}"


def _load_adapter(adapter: Path, dtype: torch.dtype, kwargs: dict[str, Any]) -> PreTrainedModel:
    from peft import PeftModel

    base = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
    kwargs.pop("local_files_only")
    model = PeftModel.from_pretrained(load(base, dtype, **kwargs), str(adapter.parent))
    return model.merge_and_unload().eval()


__all__ = ["ARCHITECTURES", "CheckpointError", "load"]
