"""What a model costs, by arithmetic from its specification alone: parameters, FLOPs and bytes per component."""

from switchbench.cost.activations import Activations
from switchbench.cost.flops import (
    ForwardFlops,
    SequenceFlops,
    count_forward_flops,
    forward_flops_of,
    paper_forward_flops,
)
from switchbench.cost.memory import Memory, count_memory, memory_of
from switchbench.cost.parameters import RELATIVE_POSITION_BUCKETS, Parameters, count_parameters, parameters_of
from switchbench.cost.run import Cost, cost_of
from switchbench.cost.training import (
    TRAIN_OVER_FORWARD,
    TrainFlops,
    computed_share,
    count_train_flops,
    provisioned_over_useful,
)

__all__ = [
    "RELATIVE_POSITION_BUCKETS",
    "TRAIN_OVER_FORWARD",
    "Activations",
    "Cost",
    "ForwardFlops",
    "Memory",
    "Parameters",
    "SequenceFlops",
    "TrainFlops",
    "computed_share",
    "cost_of",
    "count_forward_flops",
    "count_memory",
    "count_parameters",
    "count_train_flops",
    "forward_flops_of",
    "memory_of",
    "paper_forward_flops",
    "parameters_of",
    "provisioned_over_useful",
]
