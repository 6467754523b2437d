"""All of it for one run."""

from dataclasses import dataclass

from switchbench.cost.flops import ForwardFlops, count_forward_flops
from switchbench.cost.memory import Memory, count_memory
from switchbench.cost.parameters import Parameters, count_parameters
from switchbench.cost.training import TrainFlops, count_train_flops
from switchbench.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Everything that arithmetic says about a run before it is started."""

    parameters: Parameters
    """Weights."""
    forward_flops_per_token: ForwardFlops
    """Useful forward FLOPs per token."""
    train_flops: TrainFlops
    """Training FLOPs up to the last annealed point, with nothing dropped."""
    trained_flops: TrainFlops
    """The same over all steps that are computed, every cooldown included."""
    memory: Memory
    """Memory of a training step on a CPU."""


def cost_of(spec: RunSpec) -> Cost:
    """Count a run's parameters, FLOPs and bytes.

    Args:
        spec: The run.
    """
    return Cost(
        parameters=count_parameters(spec.model, vocab_size=spec.vocab_size),
        forward_flops_per_token=count_forward_flops(spec.model, vocab_size=spec.vocab_size, seq_len=spec.data.seq_len),
        train_flops=count_train_flops(spec, num_steps=spec.train.num_steps),
        trained_flops=count_train_flops(spec, num_steps=spec.train.trained_steps),
        memory=count_memory(spec),
    )
