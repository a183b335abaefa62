"""Korean token-free language models on today's Transformers.

Importing the package registers GBST-KEByT5 with Transformers' Auto classes, so that published
checkpoints load with `AutoModelForSeq2SeqLM.from_pretrained` and no remote code. Plain KEByT5
checkpoints are T5 to the Auto classes; `kebyt5.load` makes a `KEByT5ForConditionalGeneration` of
them, which adds the z-loss and refuses damaged files.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoModelForTextEncoding,
    AutoTokenizer,
)

from kebyt5.models.configuration_gbswt5 import GBSWT5Config
from kebyt5.models.loading import CheckpointError, load
from kebyt5.models.modeling_gbswt5 import (
    GBSWT5EncoderModel,
    GBSWT5ForConditionalGeneration,
    GBSWT5Model,
)
from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.process import keep_memory, prepare_process

__version__ = "0.1.0"

AutoConfig.register("gbswt5", GBSWT5Config)
AutoModel.register(GBSWT5Config, GBSWT5Model)
AutoModelForSeq2SeqLM.register(GBSWT5Config, GBSWT5ForConditionalGeneration)
AutoModelForTextEncoding.register(GBSWT5Config, GBSWT5EncoderModel)
AutoTokenizer.register(GBSWT5Config, ByteTokenizer)

__all__ = [
    "ByteTokenizer",
    "CheckpointError",
    "GBSWT5Config",
    "GBSWT5EncoderModel",
    "GBSWT5ForConditionalGeneration",
    "GBSWT5Model",
    "KEByT5ForConditionalGeneration",
    "keep_memory",
    "load",
    "prepare_process",
]
