"""Measures bits per byte on validation text."""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from kebyt5.corpus.shards import Shards
from kebyt5.models.mode import evaluating
from kebyt5.models.modeling_kebyt5 import IGNORED
from kebyt5.models.tokenization_kebyt5 import LAST_SENTINEL, OFFSET, PAD
from kebyt5.pretraining.examples import Examples
from kebyt5.pretraining.spans import SpanCorruption


class Validation:
    """Measures models on a fixed sample of a corpus's validation shards.

    Args:
        shards: Validation shards.
        examples: Most chunks of each source; they are spread evenly over it.
        batch_size: Examples that a device computes at a time.
        input_length: Ids of an input, as in training.
        corruption: Density and mean length of the masked spans; T5's values by default.
    """

    def __init__(
        self,
        shards: Shards,
        examples: int,
        batch_size: int,
        input_length: int = 1024,
        corruption: SpanCorruption | None = None,
    ) -> None:
        self.examples = Examples(shards, input_length, corruption)
        self.batches: list[tuple[str, np.ndarray]] = []
        for name in self.examples.sources:
            total = self.examples.chunks_of(name)
            numbers = np.linspace(0, total - 1, min(total, examples)).round().astype(np.int64)
            self.batches += [
                (name, numbers[i : i + batch_size]) for i in range(0, len(numbers), batch_size)
            ]

    @torch.no_grad()
    def bits_per_byte(
        self, model: torch.nn.Module, accelerator: Accelerator | None = None
    ) -> dict[str, float]:
        """Measures bits per masked byte, teacher-forced.

        The negative log likelihoods, in bits, of all target ids, including sentinels and `</s>`,
        are divided by the number of masked bytes.

        Args:
            model: The model, wrapped or not; with several devices all of them have to call this.
            accelerator: Divides the work among devices.

        Returns:
            Bits per masked byte by source, and over all examples under `all`.
        """
        rank, world = 0, 1
        device = next(model.parameters()).device
        if accelerator is not None:
            rank, world, device = (
                accelerator.process_index,
                accelerator.num_processes,
                accelerator.device,
            )
        with evaluating(model):
            sums = self._sums(model, device, rank, world)
        if accelerator is not None:
            # MPS has no float64; 32 bits hold these sums well enough to add them up.
            sums = accelerator.reduce(sums.float().to(device), "sum").double().cpu()
        rates = sums[:, 0] / math.log(2) / sums[:, 1]
        total = sums.sum(0)
        result = dict(zip(self.examples.sources, rates.tolist(), strict=True))
        return result | {"all": (total[0] / math.log(2) / total[1]).item()}

    def _sums(
        self, model: torch.nn.Module, device: torch.device, rank: int, world: int
    ) -> torch.Tensor:
        """This device's sums for each source: nats and masked bytes, (sources, 2)."""
        names = self.examples.sources
        sums = torch.zeros(len(names), 2, dtype=torch.float64)
        # All devices run equally many batches: a sharded model needs all of them in each.
        for number in range(-(-len(self.batches) // world)):
            place = number * world + rank
            name, numbers = self.batches[min(place, len(self.batches) - 1)]
            inputs, labels = (
                torch.from_numpy(ids).to(device) for ids in self.examples.of_source(name, numbers)
            )
            logits = model(
                input_ids=inputs, attention_mask=inputs.ne(PAD).long(), labels=labels
            ).logits.float()
            if place < len(self.batches):
                nats = F.cross_entropy(
                    logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
                )
                masked = ((labels >= OFFSET) & (labels < LAST_SENTINEL)).sum()
                sums[names.index(name)] += torch.tensor([nats.item(), masked.item()]).double()
        return sums


def validation_shards(corpus: Path) -> Shards | None:
    """The validation shards of a corpus, or None where it has none."""
    folder = corpus / "validation"
    return Shards(folder) if folder.is_dir() else None
