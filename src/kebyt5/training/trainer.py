"""What the trainers of pretraining and fine-tuning have in common."""

from typing import Any

from transformers import Trainer


class ByteModelTrainer(Trainer):
    """A `Trainer` that does not warn of tied weights, which a checkpoint stores only once."""

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        tied = self.model.get_expanded_tied_weights_keys()
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))


__all__ = ["ByteModelTrainer"]
