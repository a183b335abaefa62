"""The models that `kebyt5 bench` compares, each with its own way to generate.

All of them share the parameters of one `Weights`, so that they fit in one process and have to give
the same results.
"""

import importlib.util
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import (
    ByT5Tokenizer,
    StoppingCriteria,
    StoppingCriteriaList,
    T5ForConditionalGeneration,
)
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput

from kebyt5.bench.naive_gbst import naive_gbst
from kebyt5.bench.weights import Weights, gbst_config, plain_config
from kebyt5.bench.workload import Batch
from kebyt5.models.gbst import GBST
from kebyt5.models.modeling_gbswt5 import GBSWT5ForConditionalGeneration
from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration


class Alternative(ABC):
    """One way to run a byte model.

    Args:
        weights: Parameters, which are not copied.
        dropout: Dropout rate in training.

    Attributes:
        name: Name on the command line.
        title: Name in tables.
        has_gbst: Whether it uses GBST; alternatives with the same value have to give the same
            results.
        does: The measures that it supports.
        largest_batch: Largest number of texts that it can generate at a time; None for no limit.
        rehearsal: The alternative whose rehearsal estimates its memory; None for itself.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    has_gbst: ClassVar[bool] = False
    does: ClassVar[frozenset[str]] = frozenset({"train", "encode", "generate", "copy"})
    largest_batch: ClassVar[int | None] = None
    rehearsal: ClassVar["type[Alternative] | None"] = None

    @abstractmethod
    def __init__(self, weights: Weights, dropout: float = 0.0) -> None: ...

    @classmethod
    def is_installed(cls) -> bool:
        """Tells whether its dependencies are installed."""
        return True

    @abstractmethod
    def train(self, batch: Batch) -> Tensor:
        """Runs forward and backward; returns the scalar loss."""

    @abstractmethod
    def encode(self, batch: Batch) -> Any:
        """Runs the encoder."""

    @abstractmethod
    def generate(self, batch: Batch, length: int, on_byte: Callable[[], None]) -> list[list[int]]:
        """Decodes exactly `length` bytes greedily for every input.

        Args:
            batch: The inputs.
            length: Number of bytes; the end of sequence is ruled out.
            on_byte: Called whenever all outputs have one more byte.

        Returns:
            The ids of every output.
        """

    def copy(self, batch: Batch, length: int, on_byte: Callable[[], None]) -> list[list[int]]:
        """Like `generate`, for a model that copies its input, which some alternatives exploit."""
        return self.generate(batch, length, on_byte)


class TorchAlternative(Alternative):
    """Base of the alternatives that are Transformers models."""

    model: T5ForConditionalGeneration

    def train(self, batch: Batch) -> Tensor:
        """Clears the gradients of the last step, then runs forward and backward."""
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        loss = self._loss(batch)
        loss.backward()
        return loss.detach()

    @torch.no_grad()
    def encode(self, batch: Batch) -> Any:
        """Returns the encoder's output."""
        self.model.eval()
        return self._encode(batch)

    @torch.no_grad()
    def generate(self, batch: Batch, length: int, on_byte: Callable[[], None]) -> list[list[int]]:
        """Uses `model.generate`."""
        self.model.eval()
        ids = self.model.generate(
            **self._generation_inputs(batch),
            min_new_tokens=length,
            max_new_tokens=length,
            do_sample=False,
            num_beams=1,
            stopping_criteria=StoppingCriteriaList([_Tell(on_byte)]),
        )
        return ids[:, 1:].tolist()

    def _loss(self, batch: Batch) -> Tensor:
        return self.model(**batch._asdict()).loss

    def _encode(self, batch: Batch) -> Any:
        return self.model.get_encoder()(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, return_dict=True
        )

    def _generation_inputs(self, batch: Batch) -> dict[str, Any]:
        return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}


class _Tell(StoppingCriteria):
    """A criterion that never stops, but calls a function after each byte."""

    def __init__(self, on_byte: Callable[[], None]) -> None:
        self.on_byte = on_byte
        self.size = 1  # the decoder's start

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        for _ in range(input_ids.shape[1] - self.size):
            self.on_byte()
        self.size = input_ids.shape[1]
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


class KEByT5(TorchAlternative):
    """The plain model of this package."""

    name = "kebyt5"
    title = "kebyt5, plain"

    def __init__(self, weights: Weights, dropout: float = 0.0) -> None:
        with init.no_init_weights():
            config = plain_config(weights.size, dropout_rate=dropout)
            self.model = KEByT5ForConditionalGeneration(config)
        self.model.load_state_dict(weights.plain, assign=True)


class GBSTKEByT5(TorchAlternative):
    """The GBST model of this package."""

    name = "kebyt5-gbst"
    title = "kebyt5, GBST"
    has_gbst = True

    def __init__(self, weights: Weights, dropout: float = 0.0) -> None:
        with init.no_init_weights():
            config = gbst_config(weights.size, dropout_rate=dropout)
            self.model = GBSWT5ForConditionalGeneration(config)
        self.model.load_state_dict(weights.tensors, assign=True)


def stock_t5(weights: Weights, dropout: float, attention: str) -> T5ForConditionalGeneration:
    """Makes Transformers' own T5 with these weights, and with the untied `lm_head` of ByT5."""
    config = plain_config(weights.size, dropout_rate=dropout)
    with init.no_init_weights():
        model = T5ForConditionalGeneration._from_config(config, attn_implementation=attention)
    # Transformers 5 ties `lm_head` to the embedding; assigning the weights unties it.
    model.load_state_dict(weights.plain, assign=True)
    return model


class TransformersSDPA(TorchAlternative):
    """ByT5 as Transformers ships it, with attention by PyTorch's fused kernels."""

    name = "transformers-sdpa"
    title = "Transformers, sdpa"

    def __init__(self, weights: Weights, dropout: float = 0.0) -> None:
        self.model = stock_t5(weights, dropout, "sdpa")


class TransformersEager(TorchAlternative):
    """ByT5 as Transformers ships it, with attention by separate operations."""

    name = "transformers-eager"
    title = "Transformers, eager"

    def __init__(self, weights: Weights, dropout: float = 0.0) -> None:
        self.model = stock_t5(weights, dropout, "eager")


class TransformersLookup(TransformersSDPA):
    """ByT5 as Transformers ships it, with prompt lookup, which drafts what the output repeats.

    Prompt lookup does not search the encoder's input.
    """

    name = "transformers-lookup"
    title = "Transformers, sdpa, prompt lookup"
    does = frozenset({"generate", "copy"})
    largest_batch = 1

    def _generation_inputs(self, batch: Batch) -> dict[str, Any]:
        return super()._generation_inputs(batch) | {"prompt_lookup_num_tokens": 10}


class NaiveGBST(TorchAlternative):
    """A naive GBST in front of the T5 blocks that Transformers ships.

    It represents the published implementation: the same stack of candidates, padding to the least
    common multiple of the block sizes, and consensus matrix.
    """

    name = "naive-gbst"
    title = "naive GBST + Transformers"
    has_gbst = True

    def __init__(self, weights: Weights, dropout: float = 0.0) -> None:
        self.model = stock_t5(weights, dropout, "sdpa")
        config = gbst_config(weights.size)
        self.gbst = GBST(
            config.vocab_size, config.d_model, config.blocks, config.downsample_factor
        )  # only to hold the parameters
        self.gbst.load_state_dict(weights.gbst, assign=True)

    def train(self, batch: Batch) -> Tensor:
        """Clears all gradients, including GBST's, then runs forward and backward."""
        self.gbst.zero_grad(set_to_none=True)
        return super().train(batch)

    def _encode(self, batch: Batch) -> Any:
        subwords, mask = naive_gbst(self.gbst, batch.input_ids, batch.attention_mask)
        output = self.model.encoder(inputs_embeds=subwords, attention_mask=mask, return_dict=True)
        return BaseModelOutput(output.last_hidden_state), mask.long()

    def _loss(self, batch: Batch) -> Tensor:
        output, mask = self._encode(batch)
        return self.model(encoder_outputs=output, attention_mask=mask, labels=batch.labels).loss

    def _generation_inputs(self, batch: Batch) -> dict[str, Any]:
        output, mask = self._encode(batch)
        return {"encoder_outputs": output, "attention_mask": mask}


class CTranslate2(Alternative):
    """ByT5 in CTranslate2, which supports neither training nor GBST."""

    does = frozenset({"encode", "generate", "copy"})
    rehearsal = TransformersEager  # both hold one layer's attention scores
    compute_type: ClassVar[str]

    def __init__(self, weights: Weights, dropout: float = 0.0) -> None:
        import ctranslate2

        self.tokenizer = ByT5Tokenizer()
        with tempfile.TemporaryDirectory(prefix="kebyt5-bench-") as folder:
            convert_to_ctranslate2(weights, self.tokenizer, Path(folder))
            self.translator = ctranslate2.Translator(
                folder,
                compute_type=self.compute_type,
                inter_threads=1,
                intra_threads=torch.get_num_threads(),
            )

    @classmethod
    def is_installed(cls) -> bool:
        """Tells whether ctranslate2, an optional dependency, is installed."""
        return importlib.util.find_spec("ctranslate2") is not None

    def train(self, batch: Batch) -> Tensor:
        """Raises NotImplementedError."""
        raise NotImplementedError("CTranslate2 does not train")

    def encode(self, batch: Batch) -> Any:
        """Encodes and decodes one byte, since CTranslate2 has no call that only encodes."""
        return self.generate(batch, 1, lambda: None)

    def generate(self, batch: Batch, length: int, on_byte: Callable[[], None]) -> list[list[int]]:
        """Uses `Translator.translate_batch`."""
        rows = zip(batch.input_ids.tolist(), batch.attention_mask.sum(dim=1).tolist(), strict=True)
        tokens = [self.tokenizer.convert_ids_to_tokens(ids[:count]) for ids, count in rows]

        def tell(step: Any) -> bool:
            if step.batch_id == len(tokens) - 1:
                on_byte()
            return False

        results = self.translator.translate_batch(
            tokens,
            beam_size=1,
            min_decoding_length=length,
            max_decoding_length=length,
            max_input_length=0,
            callback=tell,
        )
        return [self.tokenizer.convert_tokens_to_ids(r.hypotheses[0]) for r in results]


class CTranslate2Float32(CTranslate2):
    """CTranslate2 with float32 weights and arithmetic."""

    name = "ctranslate2-float32"
    title = "CTranslate2, float32"
    compute_type = "float32"


class CTranslate2Int8(CTranslate2):
    """CTranslate2 with int8 weights and matrix products, whose results differ."""

    name = "ctranslate2-int8"
    title = "CTranslate2, int8"
    compute_type = "int8"


def convert_to_ctranslate2(weights: Weights, tokenizer: ByT5Tokenizer, folder: Path) -> None:
    """Converts the plain model to CTranslate2's format, without an intermediate checkpoint."""
    from ctranslate2.converters import TransformersConverter

    class InMemory(TransformersConverter):
        def load_model(self, *args: Any, **kwargs: Any) -> Any:
            model = stock_t5(weights, 0.0, "eager")
            model.config.tie_word_embeddings = False  # or CTranslate2 scales the decoder's output
            return model

        def load_tokenizer(self, *args: Any, **kwargs: Any) -> Any:
            return tokenizer

    plain_config(weights.size).save_pretrained(folder)
    InMemory(str(folder)).convert(str(folder), force=True)
