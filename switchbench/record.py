"""What a run left: one documented field per Parquet column, with the unit in the name.

Three tables: ``runs`` (one row per annealed point, failed runs included), ``steps`` (the curve of each run) and
``timings`` (exclusive step times per configuration and machine). Unknown is None, never -1, 0 or inf. FLOPs are
float64: they overflow int64 in sums.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

RECORD_SCHEMA = 1
"""Version of the three tables; raised when a column changes its meaning, not when one is added."""

Status = Literal["ok", "diverged", "oom", "killed", "crashed", "timeout"]
FINAL_STATUSES: tuple[Status, ...] = ("ok", "diverged", "oom")
"""Ends that are results: they are not tried again. The others are failures of the execution."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunRecord(_Record):
    """One annealed point of one run, or the end of a run that failed."""

    # Identity
    schema_version: int = Field(RECORD_SCHEMA, description="Version of this table.")
    sweep: str = Field(description="Name of the sweep.")
    run_id: str = Field(description="Identity of the run; at an earlier annealed point with the suffix `-a<fraction>`.")
    config_id: str = Field(description="Identity of the configuration: the run without its seed.")
    parent_run_id: str | None = Field(None, description="At an earlier annealed point: the run it branched off.")
    anneal_fraction: float = Field(description="The annealed point's place along the run's tokens; 1 is the end.")
    status: Status = Field(description="`ok`, `diverged`, `oom`, `killed`, `crashed` or `timeout`.")
    reason: str | None = Field(None, description="Why the status is not `ok`.")
    caveats: list[str] = Field([], description="Codes of the reasons to distrust this row.")
    # Specification
    seed: int = Field(description="Seed of weights and data order.")
    corpus: str = Field(description="Name of the corpus.")
    tokenizer: str = Field(description="How text becomes tokens.")
    vocab_size: int = Field(description="Vocabulary, V.")
    seq_len: int = Field(description="Positions per sequence, S.")
    data_fingerprint: str = Field(description="Hash of paths, bytes, tokenizer and split.")
    model_size: str = Field(description="The size ladder's name, or `d<width>-L<depth>`.")
    d_model: int = Field(description="Width, D.")
    num_layers: int = Field(description="Blocks, L.")
    num_heads: int = Field(description="Attention heads, H.")
    d_head: int = Field(description="Width of a head, K.")
    d_ff: int = Field(description="Hidden width of the FFN, per expert, F.")
    activation: str = Field(description="Activation of the FFN.")
    tied_output: bool = Field(description="Whether the output projection is the embedding table.")
    init_scale: float = Field(description="s of σ = sqrt(s/fan_in) for every matrix but the router's.")
    ffn_kind: str = Field(description="`dense` or `sparse`.")
    router: str | None = Field(
        None, description="Routing rule; None where dense, as are all columns of routing but `num_experts`."
    )
    num_experts: int = Field(1, description="Experts per sparse layer, E; 1 where dense.")
    top_k: int | None = Field(None, description="Experts per token.")
    capacity_factor: float | None = Field(None, description="Capacity factor in training; None: dropless or dense.")
    eval_capacity_factor: float | None = Field(None, description="Capacity factor of `nll_capacity`.")
    expert_capacity: int | None = Field(None, description="Slots per expert and routing group, C.")
    effective_capacity_factor: float | None = Field(None, description="C·E/(T·top_k): what rounding really gave.")
    routing_group_tokens: int | None = Field(None, description="Tokens routed together.")
    switch_layer_frequency: float | None = Field(None, description="Share of blocks that are sparse.")
    normalize_gates: bool | None = Field(None, description="Whether the gates of a token's k experts sum to 1.")
    shared_experts: int | None = Field(None, description="Experts that every token meets.")
    balance: str | None = Field(None, description="`aux_loss`, `bias` or `none`.")
    aux_loss_weight: float | None = Field(None, description="α of the load-balancing loss; 0 where it is not used.")
    balance_bias_rate: float | None = Field(None, description="Step of the bias per batch; None where not used.")
    router_z_loss_weight: float | None = Field(None, description="Weight of the router's z loss.")
    expert_dropout: float | None = Field(None, description="Dropout of the experts' hidden values.")
    router_jitter: float | None = Field(None, description="ε of the router's input noise.")
    router_precision: str | None = Field(None, description="`float32` or `bfloat16`; None where nothing is learned.")
    router_init_scale: float | None = Field(None, description="Init scale of the router.")
    gate_scale: str | None = Field(None, description="`paper` or `unit_at_init`.")
    tokens: int = Field(description="The run's token budget D, in whole batches.")
    batch_tokens: int = Field(description="Tokens per step, T.")
    learning_rate: float = Field(description="Learning rate of the trunk.")
    warmup_fraction: float = Field(description="Share of the tokens with a rising learning rate.")
    weight_decay: float = Field(description="Decoupled weight decay.")
    gradient_clip: float = Field(description="Largest global gradient norm.")
    beta1: float = Field(description="AdamW's first decay rate.")
    beta2: float = Field(description="AdamW's second decay rate.")
    adam_epsilon: float = Field(description="AdamW's ε.")
    replicate: int | None = Field(None, description="Number of the independent repetition of the same seed.")
    # Quality
    step: int | None = Field(None, description="Optimizer steps up to this point.")
    tokens_seen: int | None = Field(None, description="Training tokens up to this point.")
    nll: float | None = Field(None, description="Held-out nats per token, dropless, no auxiliary terms.")
    perplexity: float | None = Field(None, description="exp(nll).")
    neg_log_perplexity: float | None = Field(None, description="-nll, as in the paper's tables; higher is better.")
    bits_per_byte: float | None = Field(None, description="Held-out nll in bits per byte of text.")
    nll_capacity: float | None = Field(None, description="nll with experts limited by `eval_capacity_factor`.")
    nll_floor: float | None = Field(
        None, description="Of generated text: the generator's own nll on the same held-out tokens."
    )
    train_nll: float | None = Field(None, description="Mean training nll over the cooldown.")
    train_text_nll: float | None = Field(
        None, description="nll, scored in the same way, of text that was trained on; nll less this is the over-fitting."
    )
    # Routing
    dropped_token_fraction: float | None = Field(None, description="Dropped share of assignments, whole training.")
    dropped_token_fraction_last_quarter: float | None = Field(None, description="The same over the last quarter.")
    capacity_utilization: float | None = Field(None, description="Filled share of the E·C slots, last quarter.")
    expert_load_cv: float | None = Field(
        None, description="Load's coefficient of variation within a batch, mean over the cooldown and layers."
    )
    expert_load_cv_pooled: float | None = Field(
        None, description="The same of all batches of the cooldown together: a lasting preference."
    )
    router_entropy: float | None = Field(
        None, description="Mean entropy of the tokens' router distribution over the cooldown, nats."
    )
    dead_expert_fraction: float | None = Field(None, description="Share of experts with no token in the cooldown.")
    expert_load_max_over_mean: float | None = Field(
        None, description="Largest load over the mean within a batch, likewise."
    )
    router_confidence: float | None = Field(None, description="Mean largest probability of a token, over the cooldown.")
    router_z_loss: float | None = Field(None, description="Mean squared logsumexp of the logits, over the cooldown.")
    aux_loss: float | None = Field(
        None, description="Load-balancing loss over the cooldown, unscaled, mean over layers; 1 = balanced."
    )
    token_classes_by_expert: list[list[list[int]]] | None = Field(
        None,
        description="At the end, per sparse layer and expert: held-out tokens that it took, by class (letters, digits, "
        "whitespace, newline, punctuation, non-ASCII, mixed, other).",
    )
    expert_token_information: list[float] | None = Field(
        None,
        description="At the end, per sparse layer: mutual information of expert and token on held-out text, nats; None "
        "where the vocabulary is too large to count.",
    )
    held_out_token_entropy: float | None = Field(
        None, description="Entropy of the held-out tokens, nats; with `expert_token_information`."
    )
    ffn_rms_ratio_at_init: float | None = Field(
        None, description="Rms of the fresh sparse FFN's output over a dense one's."
    )
    # Cost
    params_total: int = Field(description="All weights.")
    params_active: int = Field(description="Weights that one token meets.")
    params_non_embedding: int = Field(description="All weights but the embedding and the output projection.")
    params_embedding: int = Field(description="Embedding table.")
    params_attention: int = Field(description="Attention projections.")
    params_dense_ffn: int = Field(description="Dense FFN layers.")
    params_experts: int = Field(description="All experts.")
    params_router: int = Field(description="Routers.")
    params_norm: int = Field(description="Norm scales.")
    params_output: int = Field(description="Output projection; 0 where tied.")
    tokens_per_active_param: float | None = Field(None, description="tokens_seen / params_active.")
    tokens_per_total_param: float | None = Field(None, description="tokens_seen / params_total.")
    forward_flops_per_token: float = Field(description="Useful forward FLOPs per token.")
    useful_train_flops: float | None = Field(None, description="Training FLOPs with nothing dropped and no padding.")
    provisioned_train_flops: float | None = Field(None, description="Training FLOPs with all E·C slots computed.")
    executed_train_flops: float | None = Field(None, description="Training FLOPs that the dispatch really computed.")
    wall_clock_s: float | None = Field(None, description="Training time up to this point, runs side by side.")
    eval_time_s: float | None = Field(None, description="Time of all evaluations of the run.")
    eval_share: float | None = Field(None, description="eval_time_s over the run's whole time.")
    run_time_s: float | None = Field(
        None, description="Time of the whole run, every cooldown and evaluation included; on the row of its end."
    )
    estimated_time_s: float | None = Field(None, description="`run_time_s` as it was estimated before the run.")
    step_time_s: float | None = Field(None, description="Median step time, runs side by side.")
    peak_memory_bytes: int | None = Field(
        None, description="Peak memory over the level before the model was built, up to the first branch."
    )
    estimated_peak_memory_bytes: int | None = Field(
        None, description="`peak_memory_bytes` as it was estimated before the run."
    )
    micro_batch_tokens: int | None = Field(
        None, description="Tokens of a micro-batch, after the whole batch ran out of memory; None: the whole batch."
    )
    runs_per_gpu: int | None = Field(None, description="Runs that shared the GPU, this one included; None on a CPU.")
    num_resumes: int | None = Field(None, description="How often the run was continued from a checkpoint.")
    # Data
    corpus_bytes: int | None = Field(None, description="Bytes of the corpus.")
    train_corpus_tokens: int | None = Field(None, description="Tokens of its training part.")
    held_out_tokens: int | None = Field(None, description="Held-out tokens that were scored.")
    held_out_overlap: float | None = Field(
        None, description="Share of held-out 64-byte windows also in the training text."
    )
    unique_tokens: int | None = Field(
        None, description="Training tokens that the run may see: all, or with `repeat` a part of them."
    )
    epochs: float | None = Field(None, description="tokens_seen / unique_tokens.")
    bytes_per_token: float | None = Field(None, description="Bytes of held-out text per token, separators counted.")
    data_revision: str | None = Field(None, description="Commit of the data set on the Hugging Face Hub.")
    # Provenance
    started_at: str | None = Field(None, description="Start, UTC, ISO 8601.")
    machine: str | None = Field(None, description="Processor, cores and memory, in words.")
    machine_id: str | None = Field(None, description="Hash of the machine's facts.")
    device: str | None = Field(None, description="`cpu` or `cuda`.")
    device_name: str | None = Field(None, description="The processor or GPU.")
    threads: int | None = Field(None, description="CPU threads of the run.")
    precision: str | None = Field(None, description="Arithmetic of the matmuls.")
    dispatch: str | None = Field(None, description="Backend that computed the experts; None where dense.")
    allocator: str | None = Field(None, description="Memory allocator settings of the process.")
    switchbench_version: str | None = Field(None, description="Version of this tool.")
    commit: str | None = Field(None, description="Git commit of the tool's source; `-dirty` where changed.")
    torch_version: str | None = Field(None, description="Version of PyTorch.")
    numpy_version: str | None = Field(None, description="Version of NumPy.")
    python_version: str | None = Field(None, description="Version of Python.")


class StepRecord(_Record):
    """One evaluation along a run: a point of its curve."""

    schema_version: int = Field(RECORD_SCHEMA, description="Version of this table.")
    sweep: str = Field(description="Name of the sweep.")
    run_id: str = Field(description="Identity of the run.")
    phase: Literal["trunk", "cooldown"] = Field(description="`trunk`, or `cooldown` towards an annealed point.")
    anneal_fraction: float | None = Field(None, description="In a cooldown: the annealed point it leads to.")
    is_annealed: bool = Field(description="Whether this is the end of a cooldown, scored on the whole held-out set.")
    step: int = Field(description="Optimizer steps so far on this path.")
    tokens_seen: int = Field(description="Training tokens so far on this path.")
    nll: float | None = Field(None, description="Held-out nats per token, dropless; None: not finite.")
    nll_capacity: float | None = Field(None, description="nll with limited experts.")
    train_nll: float | None = Field(None, description="Mean training nll since the previous point.")
    eval_tokens: int = Field(description="Held-out tokens scored.")
    learning_rate: float = Field(description="Learning rate of the last step.")
    gradient_norm: float | None = Field(None, description="Mean global gradient norm before clipping.")
    useful_train_flops: float = Field(description="Training FLOPs so far on this path.")
    wall_clock_s: float = Field(description="Training time so far on this path, runs side by side.")
    dropped_token_fraction: float | None = Field(None, description="Dropped share since the previous point.")
    capacity_utilization: float | None = Field(None, description="Filled share of the slots since the previous point.")
    ffn_rms_ratio: float | None = Field(None, description="At step 0: rms of the experts' output over a dense layer's.")
    router_entropy: list[float] | None = Field(None, description="Per sparse layer: mean token entropy, nats.")
    entropy_of_mean: list[float] | None = Field(None, description="Per layer: entropy of the mean distribution, nats.")
    router_confidence: list[float] | None = Field(None, description="Per layer: mean largest probability of a token.")
    aux_loss: list[float] | None = Field(None, description="Per layer: load-balancing loss, unscaled.")
    router_z_loss: list[float] | None = Field(None, description="Per layer: mean squared logsumexp, unscaled.")
    expert_load: list[list[float]] | None = Field(None, description="Per layer: share of tokens per expert.")
    expert_load_cv: list[float] | None = Field(
        None, description="Per layer: the load's coefficient of variation within a batch, mean over batches."
    )
    expert_load_cv_pooled: list[float] | None = Field(None, description="Per layer: the same of all batches together.")
    expert_load_max_over_mean: list[float] | None = Field(
        None, description="Per layer: largest load over the mean within a batch, mean over batches."
    )
    group_load_min: list[float] | None = Field(
        None, description="Per layer: smallest load of an expert in any one routing group, over a balanced load."
    )
    group_load_max: list[float] | None = Field(None, description="Per layer: the largest, likewise.")
    dead_expert_fraction: list[float] | None = Field(None, description="Per layer: share of experts without a token.")
    dropped_by_position: list[list[float]] | None = Field(
        None, description="Per layer: dropped share in each eighth of the sequence."
    )


class TimingRecord(_Record):
    """Step time of one configuration, alone on one machine."""

    schema_version: int = Field(RECORD_SCHEMA, description="Version of this table.")
    sweep: str = Field(description="Name of the sweep.")
    config_id: str = Field(description="Identity of the configuration.")
    run_id: str = Field(description="The run whose weights were timed.")
    machine_id: str = Field(description="Hash of the machine's facts.")
    machine: str = Field(description="Processor, cores and memory, in words.")
    device: str = Field(description="`cpu` or `cuda`.")
    device_name: str = Field(description="The processor or GPU.")
    threads: int = Field(description="CPU threads, as in the runs.")
    dispatch: str | None = Field(None, description="Backend that computed the experts.")
    allocator: str | None = Field(None, description="Memory allocator settings of the process.")
    torch_version: str = Field(description="Version of PyTorch.")
    commit: str | None = Field(None, description="Git commit of the tool's source.")
    trained_weights: bool = Field(description="Whether the run's final weights were at hand.")
    timed_at: str = Field(description="UTC, ISO 8601.")
    num_steps: int = Field(description="Steps measured, warm-up excluded.")
    step_time_s: float = Field(description="Median time of a whole step.")
    step_time_q25_s: float = Field(description="First quartile.")
    step_time_q75_s: float = Field(description="Third quartile.")
    batch_time_s: float = Field(description="Median time to fetch a batch.")
    forward_time_s: float = Field(description="Median time of the forward pass, loss included.")
    backward_time_s: float = Field(description="Median time of the backward pass.")
    optimizer_time_s: float = Field(description="Median time of clipping and optimizer step.")
    tokens_per_second: float = Field(description="batch_tokens / step_time_s.")
    cpu_share: float | None = Field(
        None, description="CPU time of the timed steps over their wall-clock and threads; 1: had its cores to itself."
    )
    peak_flops_per_second: float = Field(description="Measured matmul peak of this device and thread count.")
    mfu: float = Field(description="Useful FLOP/s over the peak.")
    hfu: float = Field(description="Executed FLOP/s over the peak.")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    tokens_done: int
    """Tokens trained so far, cooldowns included."""
    tokens_total: int
    """Tokens of the whole run, cooldowns included."""
    nll: float | None
    """Latest nll in nats per token, held out or (in between) training; None: none yet."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run left."""

    runs: list[RunRecord]
    """A row per annealed point that was reached; the last is the run's own: its end, or why it has none."""
    steps: list[StepRecord]
    """The curve."""
