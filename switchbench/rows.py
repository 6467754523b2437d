"""The columns of a run's row that are known before it runs: from its specification and by arithmetic."""

from typing import Any

from switchbench.cost import count_forward_flops, count_parameters, provisioned_over_useful
from switchbench.record import RunRecord, Status
from switchbench.spec import RunSpec, SparseFFNSpec, expert_capacity


def annealed_run_id(run_id: str, *, fraction: float) -> str:
    """Identity of the row of an annealed point: the run's own at the end, with a suffix before.

    >>> annealed_run_id("0123456789ab", fraction=0.25), annealed_run_id("0123456789ab", fraction=1.0)
    ('0123456789ab-a0.25', '0123456789ab')
    """
    return run_id if fraction == 1.0 else f"{run_id}-a{fraction:g}"


def describe_run(spec: RunSpec, *, sweep: str, fraction: float = 1.0) -> dict[str, Any]:
    """Fill the identity, specification and parameter columns of a ``RunRecord``.

    Args:
        spec: The run.
        sweep: Name of the sweep.
        fraction: The annealed point's place along the run's tokens.
    """
    model, train = spec.model, spec.train
    parameters = count_parameters(model, vocab_size=spec.vocab_size)
    forward = count_forward_flops(model, vocab_size=spec.vocab_size, seq_len=spec.data.seq_len)
    return {
        "sweep": sweep,
        "run_id": annealed_run_id(spec.run_id, fraction=fraction),
        "config_id": spec.config_id,
        "parent_run_id": None if fraction == 1.0 else spec.run_id,
        "anneal_fraction": fraction,
        "seed": spec.seed,
        "corpus": spec.data.corpus,
        "tokenizer": spec.data.tokenizer,
        "vocab_size": spec.vocab_size,
        "seq_len": spec.data.seq_len,
        "data_fingerprint": spec.data_fingerprint,
        "model_size": model.size_name,
        "d_model": model.d_model,
        "num_layers": model.num_layers,
        "num_heads": model.num_heads,
        "d_head": model.d_head,
        "d_ff": model.ffn.d_ff,
        "activation": model.ffn.activation,
        "tied_output": model.tied_output,
        "init_scale": model.init_scale,
        "ffn_kind": model.ffn.kind,
        "tokens": train.num_steps * train.batch_tokens,
        "batch_tokens": train.batch_tokens,
        "learning_rate": train.learning_rate,
        "warmup_fraction": train.warmup_fraction,
        "weight_decay": train.weight_decay,
        "gradient_clip": train.gradient_clip,
        "beta1": train.betas[0],
        "beta2": train.betas[1],
        "adam_epsilon": train.adam_epsilon,
        "replicate": train.replicate,
        "params_total": parameters.total,
        "params_active": parameters.active,
        "params_non_embedding": parameters.non_embedding,
        "params_embedding": parameters.embedding,
        "params_attention": parameters.attention,
        "params_dense_ffn": parameters.dense_ffn,
        "params_experts": parameters.experts,
        "params_router": parameters.router,
        "params_norm": parameters.norm,
        "params_output": parameters.output,
        "forward_flops_per_token": forward.total,
        **_describe_routing(spec),
    }


def failed_run(spec: RunSpec, *, sweep: str, status: Status, reason: str, **measured: Any) -> RunRecord:
    """Make the row of a run that did not reach its end.

    Args:
        spec: The run.
        sweep: Name of the sweep.
        status: How it ended.
        reason: Why, in words.
        **measured: Further columns that are known.
    """
    return RunRecord(**describe_run(spec, sweep=sweep), status=status, reason=reason, **measured)


def _describe_routing(spec: RunSpec) -> dict[str, Any]:
    ffn = spec.model.ffn
    if not isinstance(ffn, SparseFFNSpec):
        return {}
    group = spec.routing_group_tokens
    capacity = expert_capacity(group, num_experts=ffn.num_experts, capacity_factor=ffn.capacity_factor, top_k=ffn.top_k)
    is_dropless = ffn.capacity_factor is None
    return {
        "router": ffn.router,
        "num_experts": ffn.num_experts,
        "top_k": ffn.top_k,
        "capacity_factor": ffn.capacity_factor,
        "eval_capacity_factor": ffn.evaluation_capacity_factor,
        "expert_capacity": None if is_dropless else capacity,
        "effective_capacity_factor": None if is_dropless else provisioned_over_useful(spec),
        "routing_group_tokens": group,
        "switch_layer_frequency": ffn.switch_layer_frequency,
        "normalize_gates": ffn.normalize_gates if ffn.router == "top_k" else None,
        "shared_experts": ffn.shared_experts,
        "balance": ffn.balance if ffn.router in ("switch", "top_k") else "none",
        "aux_loss_weight": ffn.aux_loss_weight if ffn.is_balanced_by_loss else 0.0,
        "balance_bias_rate": ffn.balance_bias_rate if ffn.balance == "bias" else None,
        "router_z_loss_weight": ffn.router_z_loss_weight,
        "expert_dropout": ffn.expert_dropout,
        "router_jitter": ffn.router_jitter,
        "router_precision": None if ffn.router == "hash" else ffn.router_precision,
        "router_init_scale": ffn.router_init_scale,
        "gate_scale": ffn.gate_scale,
    }
