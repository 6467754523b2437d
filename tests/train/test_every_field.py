"""No knob does nothing: a change of any field moves something measured, not only its own copy in the row."""

from typing import Any

import pytest

from switchbench.data.corpora import PreparedCorpus, prepare_corpus
from switchbench.record import RunRecord
from switchbench.spec import DataSpec, ExecutionSpec, ModelSpec, RunSpec, SparseFFNSpec, TrainSpec
from switchbench.train import train_run
from tests.specs import sparse, tiny_run

BPE = {"tokenizer": "bpe", "bpe_vocab_size": 280}
GENERATED = {
    "corpus": "zipf-markov", "path": None, "num_symbols": 8, "num_dialects": 2, "num_documents": 200,
}  # fmt: skip

# Per field: the change, and what it is compared with where the plain sparse run does not use the field.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "data.seq_len": ({"data": {"seq_len": 64}}, {}),
    "data.held_out_fraction": ({"data": {"held_out_fraction": 0.2}}, {}),
    "data.tokenizer": ({"data": BPE}, {}),
    "data.bpe_vocab_size": ({"data": BPE | {"bpe_vocab_size": 270}}, {"data": BPE}),
    "data.repeat": ({"data": {"repeat": 4}}, {}),
    "data.num_symbols": ({"data": GENERATED | {"num_symbols": 12}}, {"data": GENERATED}),
    "data.num_dialects": ({"data": GENERATED | {"num_dialects": 3}}, {"data": GENERATED}),
    "data.zipf_exponent": ({"data": GENERATED | {"zipf_exponent": 1.2}}, {"data": GENERATED}),
    "data.num_documents": ({"data": GENERATED | {"num_documents": 300}}, {"data": GENERATED}),
    "data.generator_seed": ({"data": GENERATED | {"generator_seed": 1}}, {"data": GENERATED}),
    "model.d_model": ({"model": {"d_model": 24}}, {}),
    "model.num_layers": ({"model": {"num_layers": 3}}, {}),
    "model.num_heads": ({"model": {"num_heads": 1}}, {}),
    "model.d_head": ({"model": {"d_head": 4}}, {}),
    "model.tied_output": ({"model": {"tied_output": False}}, {}),
    "model.init_scale": ({"model": {"init_scale": 0.5}}, {}),
    "ffn.kind": ({"ffn": {"kind": "dense"}}, {}),
    "ffn.d_ff": ({"ffn": sparse(d_ff=32)}, {}),
    "ffn.activation": ({"ffn": sparse(activation="gelu")}, {}),
    "ffn.router": ({"ffn": sparse(router="hash")}, {}),
    "ffn.num_experts": ({"ffn": sparse(num_experts=3)}, {}),
    "ffn.top_k": ({"ffn": sparse(router="top_k", top_k=3)}, {"ffn": sparse(router="top_k", top_k=2)}),
    "ffn.normalize_gates": (
        {"ffn": sparse(router="top_k", top_k=2, normalize_gates=False)},
        {"ffn": sparse(router="top_k", top_k=2)},
    ),
    "ffn.shared_experts": ({"ffn": sparse(shared_experts=1)}, {}),
    "ffn.capacity_factor": ({"ffn": sparse(capacity_factor=0.5)}, {}),
    "ffn.eval_capacity_factor": ({"ffn": sparse(eval_capacity_factor=0.5)}, {}),
    "ffn.switch_layer_frequency": ({"ffn": sparse(switch_layer_frequency=1.0)}, {}),
    "ffn.balance": ({"ffn": sparse(balance="none")}, {}),
    "ffn.aux_loss_weight": ({"ffn": sparse(aux_loss_weight=0.1)}, {}),
    "ffn.balance_bias_rate": (
        {"ffn": sparse(balance="bias", balance_bias_rate=0.05)},
        {"ffn": sparse(balance="bias")},
    ),
    "ffn.router_z_loss_weight": ({"ffn": sparse(router_z_loss_weight=0.1)}, {}),
    "ffn.router_jitter": ({"ffn": sparse(router_jitter=0.1)}, {}),
    "ffn.expert_dropout": ({"ffn": sparse(expert_dropout=0.1)}, {}),
    "ffn.router_precision": (
        {"ffn": sparse(router_precision="bfloat16"), "train": {"precision": "bfloat16"}},
        {"train": {"precision": "bfloat16"}},
    ),
    "ffn.router_init_scale": ({"ffn": sparse(router_init_scale=0.1)}, {}),
    "ffn.gate_scale": ({"ffn": sparse(gate_scale="unit_at_init")}, {}),
    "ffn.routing_group_tokens": ({"ffn": sparse(routing_group_tokens=32)}, {}),
    "train.tokens": ({"train": {"tokens": 2048}}, {}),
    "train.batch_tokens": ({"train": {"batch_tokens": 512}}, {}),
    "train.learning_rate": ({"train": {"learning_rate": 5e-3}}, {}),
    "train.warmup_fraction": ({"train": {"warmup_fraction": 0.5}}, {}),
    "train.anneal_at": ({"train": {"anneal_at": [0.5, 1.0]}}, {}),
    "train.betas": ({"train": {"betas": [0.8, 0.9]}}, {}),
    "train.adam_epsilon": ({"train": {"adam_epsilon": 1e-3}}, {}),
    "train.weight_decay": ({"train": {"weight_decay": 1.0}}, {}),
    "train.gradient_clip": ({"train": {"gradient_clip": 0.1}}, {}),
    "train.replicate": ({"train": {"replicate": 1}}, {}),
    "train.precision": ({"train": {"precision": "bfloat16"}}, {}),
    "train.eval_points": ({"train": {"eval_points": 4}}, {}),
    "train.eval_tokens": ({"train": {"eval_tokens": 256}}, {}),
    "seed": ({"seed": 1}, {}),
}

NOT_SWEPT = {
    "data.corpus": "needs another text; tests/data",
    "data.path": "needs another text; tests/data",
    "data.column": "needs another text; tests/data/test_packed_corpora.py",
    "data.hf_split": "needs a data set; tests/data/test_hub.py",
    "data.hf_revision": "needs a data set; tests/data/test_hub.py",
    "data.max_documents": "needs a data set; tests/data/test_hub.py",
    "data.max_bytes": "needs a data set; tests/data/test_hub.py",
    "data.tokenizer_path": "needs a tokenizer; tests/data/test_subwords.py",
    "model.size": "a label for other fields; tests/test_spec.py",
    "train.keep_checkpoint": "keeps what was trained; tests/launch/test_checkpoints.py",
    "model.ffn": "is a group of fields",
}

MEASURED = [
    "nll", "nll_capacity", "train_nll", "dropped_token_fraction", "dropped_token_fraction_last_quarter", "aux_loss",
    "capacity_utilization", "expert_load_cv", "router_entropy", "useful_train_flops", "provisioned_train_flops",
    "executed_train_flops", "params_total", "params_active", "held_out_tokens", "ffn_rms_ratio_at_init",
]  # fmt: skip


def test_every_field_is_listed() -> None:
    fields = {f"data.{name}" for name in DataSpec.model_fields} | {f"model.{name}" for name in ModelSpec.model_fields}
    fields |= {f"train.{name}" for name in TrainSpec.model_fields}
    fields |= {f"ffn.{name}" for name in SparseFFNSpec.model_fields}
    assert fields | {"seed"} == set(CHANGES) | set(NOT_SWEPT)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory):
    """Runs a specification on a small text and returns what was measured; each only once."""
    folder, cache = tmp_path_factory.mktemp("text"), tmp_path_factory.mktemp("cache")
    for index in range(40):
        words = " ".join(f"word{(index * 7 + i * i) % 50}" for i in range(150))
        (folder / f"{index}.txt").write_text(words)
    known: dict[str, tuple[list[Any], list[Any]]] = {}

    def run(fields: dict[str, Any]) -> tuple[list[Any], list[Any]]:
        data = {"corpus": "text", "path": str(folder), "held_out_fraction": 0.1} | fields.get("data", {})
        spec: RunSpec = tiny_run(**({"ffn": sparse()} | fields | {"data": data}))
        corpus: PreparedCorpus = prepare_corpus(spec.data, cache_root=cache)
        spec = spec.model_copy(update={"vocab_size": corpus.vocab_size})
        key = spec.run_id + corpus.fingerprint
        if key not in known:
            result = train_run(spec, ExecutionSpec(device="cpu"), sweep="test", corpus=corpus)
            end: RunRecord = result.runs[-1]
            assert end.status == "ok"
            curve = [(point.step, point.eval_tokens, point.nll, len(result.runs)) for point in result.steps]
            known[key] = [getattr(end, name) for name in MEASURED], curve
        return known[key]

    return run


@pytest.mark.parametrize("field", CHANGES)
def test_a_change_moves_something_that_was_measured(field: str, record) -> None:
    changed, compared_with = CHANGES[field]
    assert record(changed) != record(compared_with), f"{field} changed nothing that was measured"
