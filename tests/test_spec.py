"""Identity, defaults and the schedule that follows from a specification."""

import itertools

import pytest
from pydantic import ValidationError

from switchbench.spec import SIZES, ModelSpec, RunSpec, TrainSpec, default_d_ff
from tests.specs import sparse, tiny_run


def test_identity_does_not_depend_on_what_is_only_a_label() -> None:
    by_size = RunSpec.model_validate(base() | {"model": {"size": "xs"}})
    by_hand = RunSpec.model_validate(base() | {"model": dict(SIZES["xs"]._asdict())})
    elsewhere = RunSpec.model_validate(base() | {"data": {"corpus": "text", "path": "/a"}})
    moved = RunSpec.model_validate(base() | {"data": {"corpus": "text", "path": "/b"}})
    assert by_size.run_id == by_hand.run_id
    assert elsewhere.run_id == moved.run_id  # the files' content is in the fingerprint


def base() -> dict:
    return {"data": {}, "model": {}, "train": {}, "vocab_size": 256, "data_fingerprint": "0123456789ab"}


@pytest.mark.parametrize(
    "change",
    [
        {"data_fingerprint": "ba9876543210"},
        {"vocab_size": 300},
        {"train": {"tokens": 2_000_000}},
        {"train": {"anneal_at": [1.0]}},
        {"model": {"tied_output": False}},
        {"model": {"ffn": {"kind": "sparse"}}},
        {"data": {"seq_len": 64}},
    ],
)
def test_identity_depends_on_what_decides_the_result(change: dict) -> None:
    changed = RunSpec.model_validate(base() | change)
    original = RunSpec.model_validate(base())
    assert changed.run_id != original.run_id
    assert changed.config_id != original.config_id


def test_the_seed_is_in_the_run_and_not_in_the_configuration() -> None:
    runs = [tiny_run(ffn=sparse(), seed=seed) for seed in (0, 1)]
    assert runs[0].run_id != runs[1].run_id
    assert runs[0].config_id == runs[1].config_id
    assert runs[0].run_id != runs[0].config_id


def test_a_repetition_draws_other_numbers_for_the_same_seed_and_is_another_configuration() -> None:
    runs = [tiny_run(seed=seed, train={"replicate": number}) for seed in (0, 1) for number in (0, 1, 2)]
    assert [run.random_seed for run in runs[::3]] == [0, 1]
    assert len({run.random_seed for run in runs}) == 6
    assert all(0 <= run.random_seed < 2**31 for run in runs)
    assert len({run.config_id for run in runs}) == 3


def test_writing_a_default_out_changes_no_identity() -> None:
    """So a field that is added with a default orphans no result."""
    short = tiny_run(ffn=sparse())
    assert RunSpec.model_validate(short.model_dump()).run_id == short.run_id
    assert RunSpec.model_validate_json(short.model_dump_json()).run_id == short.run_id


def test_known_identities_stay() -> None:
    """Recorded on purpose: a change here means that no result made before can be found again. Then raise SCHEMA."""
    assert tiny_run().run_id == "b376610dd1c9"
    assert tiny_run(ffn=sparse()).run_id == "1fe8444ca36d"


def test_the_ladder_grows_in_width_depth_and_heads_together() -> None:
    rungs = list(SIZES.values())
    for smaller, larger in itertools.pairwise(rungs):
        assert all(a < b for a, b in zip(smaller[:3], larger[:3], strict=True))
    for name, rung in SIZES.items():
        assert rung.d_model == rung.num_heads * rung.d_head
        assert ModelSpec.model_validate({"size": name}).size_name == name
    assert ModelSpec.model_validate({"size": "xs", "d_model": 96}).size_name == "d96-L6"


@pytest.mark.parametrize(
    ("frequency", "layers", "expected"),
    [(0.5, 4, (1, 3)), (1.0, 3, (0, 1, 2)), (0.25, 8, (3, 7)), (0.5, 5, (1, 3)), (0.7, 10, (1, 2, 4, 5, 7, 8, 9))],
)
def test_sparse_layers_are_spread_evenly(frequency: float, layers: int, expected: tuple[int, ...]) -> None:
    model = ModelSpec.model_validate({"num_layers": layers, "ffn": sparse(switch_layer_frequency=frequency)})
    assert model.sparse_layers == expected


def test_annealed_points_by_hand() -> None:
    train = TrainSpec(tokens=409_601, batch_tokens=4096)  # rounds up to 101 steps
    assert train.num_steps == 101
    assert [point.end_step for point in train.anneal_points] == [26, 51, 101]
    assert [point.branch_step for point in train.anneal_points] == [20, 40, 80]
    assert train.trained_steps == 80 + 6 + 11 + 21


def test_regular_evaluations_cost_one_percent_of_training() -> None:
    train = TrainSpec(tokens=10_000_000, eval_points=4)
    # Forward only, twice per point, against three times forward for each trained token.
    share = 2 * 4 * train.regular_eval_tokens / (3 * train.trained_steps * train.batch_tokens)
    assert share == pytest.approx(0.01, rel=0.01)
    assert TrainSpec(tokens=10**10).regular_eval_tokens == 65536
    assert TrainSpec(eval_tokens=4096).regular_eval_tokens == 4096


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"anneal_at": [0.5]}, "end with 1.0"),
        ({"anneal_at": [0.5, 0.25, 1.0]}, "ascending"),
        ({"betas": [0.9, 1.0]}, r"\[0, 1\)"),
        ({"tokens": 5000}, "too few"),
        ({"learning_rate": "1e-2"}, "needs a number"),
        ({"tokens": True}, "needs a number"),
        ({"tokens": float("nan")}, "finite"),
    ],
)
def test_what_a_training_specification_refuses(train: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TrainSpec.model_validate(train)


def test_batches_are_whole_sequences_and_groups_whole_batches_parts() -> None:
    with pytest.raises(ValidationError, match="batch_tokens 100 is not a multiple of"):
        tiny_run(train={"batch_tokens": 100})
    for group in (48, 512):
        with pytest.raises(ValidationError, match="routing_group_tokens"):
            tiny_run(ffn=sparse(routing_group_tokens=group))
    assert tiny_run(ffn=sparse(routing_group_tokens=64)).routing_group_tokens == 64
    assert tiny_run(ffn=sparse()).routing_group_tokens == 256


def test_a_gated_layer_has_as_many_weights_as_an_ungated_one() -> None:
    assert 3 * default_d_ff(96, activation="geglu") == 2 * default_d_ff(96, activation="relu")


@pytest.mark.parametrize(
    ("ffn", "words"),
    [
        ({"router": "top_k"}, "router 'top_k' needs top_k of at least 2, got 1"),
        ({"top_k": 2}, "router 'switch' sends a token to one expert, got top_k 2"),
        ({"router": "hash", "top_k": 2}, "router 'hash' sends a token to one expert"),
        ({"router": "top_k", "top_k": 5}, "top_k 5 is more than num_experts 4"),
        ({"router": "expert_choice", "capacity_factor": None}, "needs a capacity_factor"),
        ({"normalize_gates": False}, "normalize_gates does nothing here: it goes with router 'top_k'"),
        ({"router": "hash", "aux_loss_weight": 0.1}, "aux_loss_weight does nothing here"),
        ({"balance": "bias", "aux_loss_weight": 0.1}, "aux_loss_weight does nothing here"),
        ({"balance_bias_rate": 0.1}, "balance_bias_rate does nothing here: it goes with balance 'bias'"),
        ({"router": "expert_choice", "balance": "none"}, "balance does nothing here"),
        ({"router": "hash", "router_z_loss_weight": 0.1}, "router_z_loss_weight does nothing here"),
        ({"router": "hash", "router_jitter": 0.1}, "router_jitter does nothing here"),
        (
            {"router": "hash", "router_precision": "bfloat16"},
            "router_precision does nothing here",
        ),
        ({"router_precision": "bfloat16"}, "does nothing here: it goes with train.precision 'bfloat16', got 'float32'"),
        ({"router_precision": "float16"}, "'float32' or 'bfloat16'"),
        ({"router": "hash", "router_init_scale": 0.1}, "router_init_scale does nothing here"),
        ({"router": "top_k", "top_k": 2, "gate_scale": "unit_at_init"}, "gate_scale does nothing here"),
    ],
)
def test_what_a_sparse_layer_refuses(ffn: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        tiny_run(ffn=sparse(**ffn))


def test_a_token_meets_its_experts_and_the_shared_ones() -> None:
    ffn = tiny_run(ffn=sparse(router="top_k", top_k=2, shared_experts=1, d_ff=10)).model.ffn
    assert ffn.active_d_ff == 30
