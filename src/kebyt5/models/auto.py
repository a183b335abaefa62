"""Registers GBST-KEByT5 with Transformers' Auto classes; importing this module is enough."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoModelForTextEncoding,
    AutoTokenizer,
)

from .configuration_gbswt5 import GBSWT5Config
from .modeling_gbswt5 import GBSWT5EncoderModel, GBSWT5ForConditionalGeneration, GBSWT5Model
from .tokenization_kebyt5 import ByteTokenizer

AutoConfig.register("gbswt5", GBSWT5Config)
AutoModel.register(GBSWT5Config, GBSWT5Model)
AutoModelForSeq2SeqLM.register(GBSWT5Config, GBSWT5ForConditionalGeneration)
AutoModelForTextEncoding.register(GBSWT5Config, GBSWT5EncoderModel)
AutoTokenizer.register(GBSWT5Config, ByteTokenizer)
