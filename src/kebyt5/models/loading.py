"""Loads published and own checkpoints strictly, where every tensor has to match, and saves them."""

import json
import os
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel, T5ForConditionalGeneration

from kebyt5.errors import CheckpointError

from . import auto  # noqa: F401  # what is loaded may be saved, and found by the Auto classes again
from .modeling_gbswt5 import GBSWT5ForConditionalGeneration
from .modeling_kebyt5 import KEByT5ForConditionalGeneration
from .tokenization_kebyt5 import VOCABULARY, ByteTokenizer

ARCHITECTURES: dict[str, type[T5ForConditionalGeneration]] = {
    "gbswt5": GBSWT5ForConditionalGeneration,
    "t5": KEByT5ForConditionalGeneration,
}


SHIPPED = {"tiny": Path(__file__).parents[1] / "assets" / "tiny"}
"""Checkpoints that ship with the package, by name."""


MAX_VOCABULARY = 1024
"""Larger vocabularies hold more than bytes and a few extra ids."""


def load(
    name_or_path: str | os.PathLike[str],
    dtype: torch.dtype | str | None = torch.float32,
    **kwargs: Any,
) -> T5ForConditionalGeneration:
    """Loads a KEByT5, GBST-KEByT5 or ByT5 checkpoint for inference or training.

    A LoRA adapter is merged into its base model.

    Args:
        name_or_path: A folder, read without any network call, a name on the hub, or "tiny", the
            small GBST model that comes with the package.
        dtype: Of the weights. Checkpoints are stored in half precision to save space, which
            is too coarse to fine-tune in; hence float32 unless asked otherwise.
        **kwargs: As for `from_pretrained`, e.g. `device_map`, `attn_implementation`; also
            `torch_dtype`, as `dtype` was called once.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: No such checkpoint, another architecture, tensors that are missing, left
            over or misshapen, or a pickle that holds more than tensors.
    """
    folder = local_folder(name_or_path)
    if _is_shipped(name_or_path) and os.path.isdir(name_or_path):
        warnings.warn(
            f"{name_or_path} is a folder here, but also the name of a model that comes with"
            f" kebyt5, which is taken; write ./{name_or_path} for the folder",
            stacklevel=2,
        )
    source = str(folder or name_or_path)
    if not source:
        raise CheckpointError("the name of the checkpoint is empty; give a folder or a hub name")
    dtype = kwargs.pop("torch_dtype", dtype)
    given = [*kwargs, *(["dtype"] if isinstance(dtype, str) else [])]
    if folder is not None:
        kwargs["local_files_only"] = True
    elif os.path.exists(source) or source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise CheckpointError(f"{source}: no such folder; give a checkpoint folder or a hub name")
    try:
        if folder is not None and base_of_adapter(folder) is not None:
            model = _load_adapter(folder, dtype, kwargs)
        else:
            model = _load_model(source, dtype, kwargs)
    except (CheckpointError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything at all
        if isinstance(error, TypeError) and any(repr(name) in str(error) for name in kwargs):
            raise  # an argument that `from_pretrained` does not take
        reason = _explain(source, folder is not None, error) + _or_arguments(given)
        raise CheckpointError(reason) from error
    model.name_or_path = str(name_or_path)
    return model


def local_folder(name_or_path: str | os.PathLike[str]) -> Path | None:
    """Returns the folder of a checkpoint, shipped or not; None for one that is not on disk.

    A `Path` is never the name of a shipped one.
    """
    folder = SHIPPED[str(name_or_path)] if _is_shipped(name_or_path) else name_or_path
    # Not `Path.is_dir`, which raises for names that cannot be; and "" is not the current folder.
    return Path(folder) if os.path.isdir(folder) else None


def _is_shipped(name_or_path: str | os.PathLike[str]) -> bool:
    return isinstance(name_or_path, str) and name_or_path in SHIPPED


def base_of_adapter(checkpoint: str | os.PathLike[str]) -> str | None:
    """Returns the base model that an adapter's folder names; None for any other checkpoint.

    Raises:
        CheckpointError: The adapter's configuration names no base model.
    """
    folder = local_folder(checkpoint)
    if folder is None or not (path := folder / "adapter_config.json").is_file():
        return None
    try:
        base = json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path}: names no base model; the file is damaged") from error
    if not isinstance(base, str):
        raise CheckpointError(f"{path}: names no base model, but {base!r}")
    return base


def save_checkpoint(model: PreTrainedModel, folder: str | os.PathLike[str], **kwargs: Any) -> None:
    """Saves a model and the tokenizer's files, which other programs look for beside it.

    Args:
        model: The model.
        folder: The folder, made if need be.
        **kwargs: As for `save_pretrained`.
    """
    # What code to load a model with is said where that code is, in exported folders.
    model.config.__dict__.pop("auto_map", None)
    model.save_pretrained(folder, **kwargs)
    ByteTokenizer().save_pretrained(folder)


def load_float(name_or_path: str | os.PathLike[str]) -> T5ForConditionalGeneration:
    """Loads a checkpoint to train, average or convert; int8 weights are too coarse for that.

    Args:
        name_or_path: A folder or a name, as for `load`.

    Returns:
        The model in float32 and evaluation mode.

    Raises:
        CheckpointError: The checkpoint cannot be loaded, or its weights are int8.
    """
    model = load(name_or_path)
    if getattr(model.config, "int8", False):
        raise CheckpointError(
            f"{name_or_path}: its weights are int8, which is for generation only; give the"
            " checkpoint that it was made of, named in its quantization.json"
        )
    return model


def _load_model(
    source: str, dtype: torch.dtype | str | None, kwargs: dict[str, Any]
) -> T5ForConditionalGeneration:
    model_class, config = _architecture(source, kwargs)
    if config.get("int8"):
        dtype = torch.float32  # that of int8 products
    model, info = model_class.from_pretrained(
        source,
        **({"dtype": dtype, "output_loading_info": True, "ignore_mismatched_sizes": True} | kwargs),
    )
    blame = "the file is damaged or does not belong to this config.json" + _or_arguments(
        [name for name in kwargs if hasattr(model.config, name)]
    )
    _require_all_tensors(source, info, blame)
    return model.eval()


def _architecture(
    source: str, kwargs: dict[str, Any]
) -> tuple[type[T5ForConditionalGeneration], dict[str, Any]]:
    """The class of a checkpoint's model and what its config.json says."""
    config, _ = PreTrainedConfig.get_config_dict(source, **kwargs)
    if not config:
        raise CheckpointError(f"{source}: no config.json here; give a checkpoint folder")
    model_type = config.get("model_type")
    if model_type not in ARCHITECTURES:
        raise CheckpointError(
            f"{source}: a checkpoint of architecture {model_type!r}, which is none of"
            f" {', '.join(ARCHITECTURES)}; kebyt5 loads ByT5, KEByT5 and GBST-KEByT5 models"
        )
    if config.get("vocab_size", VOCABULARY) > MAX_VOCABULARY:
        raise CheckpointError(
            f"{source}: a T5 with a vocabulary of {config['vocab_size']} subwords; kebyt5 loads"
            " models that read bytes"
        )
    return ARCHITECTURES[model_type], config


def _require_all_tensors(source: str, info: dict[str, Any], blame: str) -> None:
    """Refuses what Transformers only warns of: weights that stay random or are dropped."""
    problems = [
        (info["missing_keys"], "are missing"),
        (info["unexpected_keys"], "belong to no parameter"),
        ([key for key, *_ in info["mismatched_keys"]], "have another shape than config.json says"),
    ]
    for keys, problem in problems:
        if keys:
            names = ", ".join(sorted(keys)[:3]) + (", …" if len(keys) > 3 else "")
            raise CheckpointError(f"{source}: {len(keys)} tensors {problem} ({names}); {blame}")


def _or_arguments(names: Sequence[str]) -> str:
    """What to add to a reason: arguments of the caller, if there are any."""
    return f"; the cause may be an argument: {', '.join(names)}" if names else ""


def _explain(source: str, is_local: bool, error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
        return (
            f"{source}: pytorch_model.bin holds more than tensors and could run code; it is not"
            " loaded. Ask its author for safetensors"
        )
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    if is_local:
        # Some readers report a file without read permission as missing.
        for path in [Path(source), *sorted(Path(source).glob("*"))]:
            is_read = path.suffix in ("", ".json", ".safetensors", ".bin")
            if is_read and not os.access(path, os.R_OK):
                return f"{path}: this user may not read it; permit it, for example by chmod a+r"
        return f"{source}: cannot be loaded as a checkpoint: {cause}"
    return (
        f"{source}: not a folder here, none of the checkpoints that come with kebyt5"
        f" ({', '.join(SHIPPED)}), and cannot be had from the hub: {cause}"
    )


def _load_adapter(
    folder: Path, dtype: torch.dtype | str | None, kwargs: dict[str, Any]
) -> T5ForConditionalGeneration:
    """Merges an adapter, which has to be complete, into its base model."""
    from peft import (
        PeftConfig,
        get_peft_model,
        get_peft_model_state_dict,
        load_peft_weights,
        set_peft_model_state_dict,
    )

    config = PeftConfig.from_pretrained(str(folder))
    if config.is_prompt_learning:
        raise CheckpointError(
            f"{folder}: an adapter of prompts ({config.peft_type.value}), which cannot be merged"
            " into weights; load it by PEFT's own PeftModel.from_pretrained"
        )
    base = config.base_model_name_or_path
    if base_of_adapter(base) is not None:
        raise CheckpointError(f"{folder}: its base, {base}, is an adapter too; merge that first")
    kwargs = {key: value for key, value in kwargs.items() if key != "local_files_only"}
    try:
        model = load(base, dtype, **kwargs)
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder}: its base model, {base}, cannot be loaded; restore it, or merge the"
            f" adapter where it exists: kebyt5 merge {folder} --output FOLDER ({error})"
        ) from error
    tied = model.get_expanded_tied_weights_keys()
    model = get_peft_model(model, config)
    if not list(folder.glob("adapter_model.*")):
        raise CheckpointError(f"{folder}: no adapter_model.safetensors beside adapter_config.json")
    weights = load_peft_weights(str(folder), device="cpu")
    wanted = get_peft_model_state_dict(model)
    if weights.keys() != wanted.keys():
        raise CheckpointError(
            f"{folder}: the adapter's tensors are not those that adapter_config.json describes"
        )
    _require_untied(folder, model.get_base_model(), {*tied, *tied.values()})
    set_peft_model_state_dict(model, weights)
    # PEFT has frozen the base, but the merged model may be trained like any other.
    return model.merge_and_unload().requires_grad_(True).eval()


def _require_untied(folder: Path, model: PreTrainedModel, tied: set[str]) -> None:
    """Refuses an adapter of a tied weight: merging it would change the other uses as well."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    adapting = (BaseTunerLayer, AuxiliaryTrainingWrapper)
    for name, module in model.named_modules():
        if isinstance(module, adapting) and f"{name}.weight" in tied:
            raise CheckpointError(
                f"{folder}: adapts {name}, whose weight other modules share, so it cannot be"
                " merged; load it by PEFT, or train an adapter of other modules"
            )
