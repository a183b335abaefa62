"""The generation engine among what `kebyt5 bench` compares, in float32 and in eight bits."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from kebyt5.bench.models import Alternative, GBSTKEByT5, KEByT5, TorchAlternative
from kebyt5.bench.weights import Weights
from kebyt5.bench.workload import Batch, sentence_of
from kebyt5.generation import Engine, GenerationOptions, GenerationStatistics
from kebyt5.generation.constraints import CopyWithTags
from kebyt5.generation.constraints.constraint import Constraint, mask_of
from kebyt5.generation.encoding import encode
from kebyt5.models.tokenization_kebyt5 import EOS, VOCABULARY, ByteTokenizer
from kebyt5.quantization.quantize import quantize
from kebyt5.tasks.ner import TYPES


class WithoutEnd(Constraint):
    """Whatever comes, it does not end."""

    _mask = mask_of([i for i in range(VOCABULARY) if i != EOS])

    def start(self) -> None:
        """There is one state."""

    def allowed(self, state: None) -> np.ndarray:
        """All ids but the end of sequence."""
        return self._mask

    def advance(self, state: None, byte_id: int) -> None:
        """Nothing is remembered."""


class EngineAlternative(Alternative):
    """A model of this package in its engine, which decides several bytes a pass where it can.

    Attributes:
        statistics: Of what was generated last.
    """

    does = frozenset({"encode", "generate", "copy"})
    model_class: ClassVar[type[TorchAlternative]]
    int8: ClassVar[bool] = False

    def __init__(self, weights: Weights, dropout: float = 0.0) -> None:
        model = self.model_class(weights, dropout).model.eval()
        self.model = quantize(model) if self.int8 else model
        self.engine = Engine(self.model)

    def train(self, batch: Batch) -> Any:
        """Cannot be done."""
        raise NotImplementedError("the engine does not train")

    @torch.inference_mode()
    def encode(self, batch: Batch) -> Any:
        """Returns the states of each input."""
        return encode(self.model, _inputs(batch))

    def generate(self, batch: Batch, length: int, on_byte: Callable[[], None]) -> list[list[int]]:
        """Decodes byte by byte, since there is nothing to guess at.

        Random weights repeat themselves, which no other alternative is allowed to exploit here.
        """
        options = GenerationOptions(max_new_bytes=length, constraint=WithoutEnd(), drafts=False)
        inputs = _inputs(batch)
        return self._drive(inputs, [options] * len(inputs), on_byte)

    def copy(self, batch: Batch, length: int, on_byte: Callable[[], None]) -> list[list[int]]:
        """Guesses at what is copied."""
        inputs = _inputs(batch)
        options = [
            GenerationOptions(max_new_bytes=length, constraint=self.constraint(ids))
            for ids in inputs
        ]
        return self._drive(inputs, options, on_byte)

    def constraint(self, ids: np.ndarray) -> Constraint:
        """What the copy of an input may be."""
        return WithoutEnd()

    def _drive(
        self,
        inputs: Sequence[np.ndarray],
        options: Sequence[GenerationOptions],
        on_byte: Callable[[], None],
    ) -> list[list[int]]:
        """Submits every input and drives the engine until all are done."""
        requests = [self.engine.submit(*pair) for pair in zip(inputs, options, strict=True)]
        told, more = 0, True
        while more:
            more = self.engine.step()
            fewest = min(request.size for request in requests)
            for _ in range(fewest - told):
                on_byte()
            told = fewest
        results = [request.result() for request in requests]
        self.statistics = GenerationStatistics()
        for result in results:
            self.statistics += result.statistics
        return [result.ids for result in results]


def _inputs(batch: Batch) -> list[np.ndarray]:
    lengths = batch.attention_mask.sum(dim=1).tolist()
    return [ids[:length].numpy() for ids, length in zip(batch.input_ids, lengths, strict=True)]


class PlainEngineFloat32(EngineAlternative):
    """The plain model."""

    name = "kebyt5-engine"
    title = "kebyt5 engine, plain"
    model_class = rehearsal = KEByT5


class PlainEngineInt8(PlainEngineFloat32):
    """The plain model with weights of eight bits: not the same numbers any more."""

    name = "kebyt5-engine-int8"
    title = "kebyt5 engine, plain, int8"
    int8 = True


class EngineFloat32(EngineAlternative):
    """The GBST model."""

    name = "kebyt5-gbst-engine"
    title = "kebyt5 engine, GBST"
    has_gbst = True
    model_class = rehearsal = GBSTKEByT5


class EngineInt8(EngineFloat32):
    """The GBST model with weights of eight bits: not the same numbers any more."""

    name = "kebyt5-gbst-engine-int8"
    title = "kebyt5 engine, GBST, int8"
    int8 = True


class ConstrainedEngineFloat32(EngineFloat32):
    """The GBST model under the constraint of the NER task, which knows what is to be copied."""

    name = "kebyt5-gbst-engine-constrained"
    title = "kebyt5 engine, GBST, constrained"
    does = frozenset({"copy"})

    def constraint(self, ids: np.ndarray) -> Constraint:
        """The sentence of the prompt with marks; it is too long to end."""
        prompt = ByteTokenizer().decode(ids, skip_special_tokens=True)
        return CopyWithTags(sentence_of(prompt), TYPES)


class ConstrainedEngineInt8(ConstrainedEngineFloat32):
    """The same with weights of eight bits."""

    name = "kebyt5-gbst-engine-int8-constrained"
    title = "kebyt5 engine, GBST, int8, constrained"
    int8 = True


__all__ = [
    "ConstrainedEngineFloat32",
    "ConstrainedEngineInt8",
    "EngineFloat32",
    "EngineInt8",
    "PlainEngineFloat32",
    "PlainEngineInt8",
    "WithoutEnd",
]
