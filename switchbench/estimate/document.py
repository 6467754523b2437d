"""The answer as one JSON object, for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from switchbench.cost import TRAIN_OVER_FORWARD
from switchbench.estimate.captions import flops_caption, memory_caption, sequence_caption
from switchbench.estimate.costs import Estimate

SCHEMA_VERSION = 1
"""Version of the JSON object."""


def estimates_json(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Give estimates as one JSON object: totals, and what they consist of.

    Args:
        estimates: The estimates; at least one.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "convention": estimates[0].convention,
        "caption": " ".join([flops_caption(estimates), sequence_caption(estimates), memory_caption(estimates)]),
        "models": [_model_json(each) for each in estimates],
    }


def _model_json(estimate: Estimate) -> dict[str, Any]:
    e, subject = estimate, estimate.subject
    provisioned = e.provisioned_forward_flops_per_token
    return {
        "name": subject.name,
        "sweep": subject.sweep,
        "config_id": None if subject.spec is None or subject.sweep is None else subject.spec.config_id,
        "params_total": e.parameters.total,
        "params_active": e.parameters.active,
        "parameters": asdict(e.parameters),
        "sequence_tokens": subject.sequence_tokens,
        "forward_flops_per_token": e.forward_flops_per_token,
        "forward_flops_per_sequence": e.forward_flops_per_sequence,
        "train_flops_per_token": TRAIN_OVER_FORWARD * e.forward_flops_per_token,
        "forward_flops_per_token_by_component": None if e.flops_by_component is None else asdict(e.flops_by_component),
        "provisioned_forward_flops_per_token": provisioned,
        "provisioned_train_flops_per_token": None if provisioned is None else TRAIN_OVER_FORWARD * provisioned,
        "precision": e.precision,
        "batch_tokens": e.batch_tokens,
        "recompute": e.recompute,
        "memory_bytes": {
            "weights": e.memory.weights,
            "gradients": e.memory.gradients,
            "optimizer": e.memory.optimizer,
            "activations": e.memory.activations.total,
            "logits": e.memory.activations.logits,
            "dispatch": e.memory.activations.dispatch,
            "held": e.memory.held,
            "temporary": e.memory.temporary,
            "allocator": e.memory.allocator,
            "kernels": e.memory.kernels,
            "peak": e.memory.peak,
        },
        "activation_bytes_by_component": asdict(e.memory.activations),
        "devices": None if e.devices is None else asdict(e.devices),
        "source": subject.source,
        "note": subject.note,
    }
