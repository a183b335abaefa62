"""The named shapes of the KEByT5 family."""

from typing import Any

from transformers import T5Config

from .configuration_gbswt5 import GBSWT5Config
from .tokenization_kebyt5 import VOCABULARY

_SMALL = {"d_model": 1472, "d_ff": 3584, "num_heads": 6, "num_layers": 12, "num_decoder_layers": 4}
_BASE = {"d_model": 1536, "d_ff": 3968, "num_heads": 12, "num_layers": 18, "num_decoder_layers": 6}
_LARGE = {
    "d_model": 1536,
    "d_ff": 3840,
    "num_heads": 16,
    "num_layers": 36,
    "num_decoder_layers": 12,
}
_TINY = {"d_model": 256, "d_ff": 1024, "num_heads": 4, "num_layers": 6, "num_decoder_layers": 2}
BLOCKS = (1, 2, 3, 6, 9)
"""Candidate blocks of the published GBST models, in bytes."""

DOWNSAMPLE = 3
"""Bytes per encoder position of the published GBST models."""

_GBST = {"subword_blocks": [*BLOCKS], "downsample_factor": DOWNSAMPLE}
_FASTER = {"max_subword_block_size": 9, "downsample_factor": 6}

PRESETS: dict[str, dict[str, Any]] = {
    "kebyt5-tiny": _TINY,
    "kebyt5-small": _SMALL,
    "kebyt5-base": _BASE,
    "kebyt5-large": _LARGE,
    "gbst-kebyt5-tiny": _TINY | _GBST,
    "gbst-kebyt5-base": _BASE | _GBST,
    "gbst-kebyt5-large": _LARGE | _GBST,
    "faster-gbst-kebyt5-base": _BASE | _FASTER,
    "faster-gbst-kebyt5-large": _LARGE | _FASTER,
}


def preset_config(name: str, **changes: Any) -> Any:
    """Returns the configuration of a named shape: a `GBSWT5Config` if it has GBST.

    Args:
        name: A key of `PRESETS`.
        **changes: Configuration values that differ from the preset.

    Raises:
        KeyError: There is no such preset.
    """
    shape = PRESETS[name]
    config_class = GBSWT5Config if "downsample_factor" in shape else T5Config
    common = {
        "vocab_size": VOCABULARY,
        "d_kv": 64,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
    }
    return config_class(**(common | shape | changes))
