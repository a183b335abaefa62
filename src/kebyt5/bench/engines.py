"""The generation engine as an alternative of `kebyt5 bench`, in float32 and with int8 weights."""

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
    """A constraint that only rules out the end of sequence."""

    _mask = mask_of([i for i in range(VOCABULARY) if i != EOS])

    def start(self) -> None:
        """Returns the only state."""

    def allowed(self, state: None) -> np.ndarray:
        """Allows all ids except the end of sequence."""
        return self._mask

    def advance(self, state: None, byte_id: int) -> None:
        """Stays in the only state."""


class EngineAlternative(Alternative):
    """A model of this package in its engine, which decides several bytes per pass if possible.

    Attributes:
        statistics: Counts of the last generation.
    """

    does = frozenset({"encode", "generate", "copy"})
    model_class: ClassVar[type[TorchAlternative]]
    int8: ClassVar[bool] = False

    def __init__(self, weights: Weights, dropout: float = 0.0) -> None:
        model = self.model_class(weights, dropout).model.eval()
        self.model = quantize(model) if self.int8 else model
        self.engine = Engine(self.model)

    def train(self, batch: Batch) -> Any:
        """Raises NotImplementedError."""
        raise NotImplementedError("the engine does not train")

    @torch.inference_mode()
    def encode(self, batch: Batch) -> Any:
        """Returns the states of each input."""
        return encode(self.model, _inputs(batch))

    def generate(self, batch: Batch, length: int, on_byte: Callable[[], None]) -> list[list[int]]:
        """Decodes byte by byte, without drafts.

        Models with random weights repeat themselves, which drafts would exploit unfairly.
        """
        options = GenerationOptions(max_new_bytes=length, constraint=WithoutEnd(), drafts=False)
        inputs = _inputs(batch)
        return self._drive(inputs, [options] * len(inputs), on_byte)

    def copy(self, batch: Batch, length: int, on_byte: Callable[[], None]) -> list[list[int]]:
        """Decodes with drafts, which guess the bytes that are copied."""
        inputs = _inputs(batch)
        options = [
            GenerationOptions(max_new_bytes=length, constraint=self.constraint(ids))
            for ids in inputs
        ]
        return self._drive(inputs, options, on_byte)

    def constraint(self, ids: np.ndarray) -> Constraint:
        """Returns the constraint on the copy of an input."""
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
        self.statistics = GenerationStatistics.sum(result.statistics for result in results)
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
    """The plain model with int8 weights, whose results differ."""

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
    """The GBST model with int8 weights, whose results differ."""

    name = "kebyt5-gbst-engine-int8"
    title = "kebyt5 engine, GBST, int8"
    int8 = True


class ConstrainedEngineFloat32(EngineFloat32):
    """The GBST model under the constraint of the NER task, which knows the text to copy."""

    name = "kebyt5-gbst-engine-constrained"
    title = "kebyt5 engine, GBST, constrained"
    does = frozenset({"copy"})

    def constraint(self, ids: np.ndarray) -> Constraint:
        """Allows the sentence of the prompt with marks; it is longer than what is generated."""
        prompt = ByteTokenizer().decode(ids, skip_special_tokens=True)
        return CopyWithTags(sentence_of(prompt), TYPES)


class ConstrainedEngineInt8(ConstrainedEngineFloat32):
    """The GBST model with int8 weights under the constraint of the NER task."""

    name = "kebyt5-gbst-engine-int8-constrained"
    title = "kebyt5 engine, GBST, int8, constrained"
    int8 = True
