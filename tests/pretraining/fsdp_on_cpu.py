"""The command line with FSDP on processors, where Accelerate would take DDP without a word.

PyTorch's FSDP2 runs there over gloo; Accelerate turns it on for accelerators only.
"""

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from kebyt5.cli import main
from kebyt5.pretraining.trainer import PretrainTrainer

begin = PartialState.__init__


def with_fsdp(self, *arguments, **options):
    begin(self, *arguments, **options)
    if PartialState._shared_state["distributed_type"] == DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def train(self, *arguments, **options):
    result = PretrainTrainer.__base__.train(self, *arguments, **options)
    kind = AcceleratorState().distributed_type
    if kind == DistributedType.FSDP and type(self.model_wrapped).__name__.startswith("FSDP"):
        print("sharded by FSDP")
    return result


PartialState.__init__ = with_fsdp
PretrainTrainer.train = train
main()
