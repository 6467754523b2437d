"""Real runs on real (small) text: annealed points, determinism, branches, divergence, and what the rows say."""

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from switchbench.cost import count_train_flops
from switchbench.data.batches import Batch
from switchbench.data.corpora import PreparedCorpus, prepare_corpus, read_tokens
from switchbench.device import machine_facts
from switchbench.model.transformer import build_model
from switchbench.record import Progress, RunResult
from switchbench.spec import ExecutionSpec, RunSpec
from switchbench.train import checkpoint, run, train_run
from switchbench.train.evaluate import evaluate, ffn_rms_ratio, score_dropless
from switchbench.train.provenance import provenance
from switchbench.train.steps import learning_rate_at, restore_state, save_state, start_training, take_step
from tests.specs import sparse, tiny_run


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    folder = tmp_path_factory.mktemp("text")
    for index in range(40):
        words = " ".join(f"word{(index * 7 + i * i) % 50}" for i in range(150))
        (folder / f"{index}.txt").write_text(words)
    data = tiny_run(data={"corpus": "text", "path": str(folder), "held_out_fraction": 0.1}).data
    return prepare_corpus(data, cache_root=tmp_path_factory.mktemp("cache"))


def train(spec: RunSpec, corpus: PreparedCorpus, **execution: object) -> RunResult:
    return train_run(spec, ExecutionSpec(device="cpu", **execution), sweep="test", corpus=corpus)


@pytest.mark.parametrize("ffn", [{"kind": "dense"}, sparse(router_jitter=0.1)])
def test_equal_runs_give_equal_nll_to_the_bit(ffn: dict, corpus: PreparedCorpus) -> None:
    first, second = train(tiny_run(ffn=ffn), corpus), train(tiny_run(ffn=ffn), corpus)
    assert [row.nll for row in first.runs] == [row.nll for row in second.runs]
    assert [row.train_nll for row in first.runs] == [row.train_nll for row in second.runs]
    assert train(tiny_run(ffn=ffn, seed=1), corpus).runs[-1].nll != first.runs[-1].nll


def test_each_annealed_point_is_a_row(corpus: PreparedCorpus) -> None:
    spec = tiny_run(ffn=sparse())  # 16 steps of 256 tokens
    result = train(spec, corpus)
    assert [row.anneal_fraction for row in result.runs] == [0.25, 0.5, 1.0]
    assert [row.run_id for row in result.runs] == [f"{spec.run_id}-a0.25", f"{spec.run_id}-a0.5", spec.run_id]
    assert [row.parent_run_id for row in result.runs] == [spec.run_id, spec.run_id, None]
    assert [row.tokens_seen for row in result.runs] == [1024, 2048, 4096]
    for row in result.runs:
        assert row.status == "ok"
        flops = count_train_flops(spec, num_steps=row.step, computed_share=1 - row.dropped_token_fraction)
        assert row.useful_train_flops == flops.useful
        assert row.executed_train_flops == pytest.approx(flops.executed, rel=1e-12)
        assert row.perplexity == pytest.approx(math.exp(row.nll))
        assert row.neg_log_perplexity == -row.nll
        # Whole sequences of 32, each with a token after it.
        assert row.held_out_tokens == (corpus.num_held_out_tokens - 1) // 32 * 32
    # Learned something: better than the first guess, and better at each point.
    nlls = [row.nll for row in result.runs]
    assert nlls == sorted(nlls, reverse=True)
    assert nlls[0] < math.log(256)


def test_the_end_of_a_run_tells_the_time_of_all_of_it(corpus: PreparedCorpus) -> None:
    *earlier, end = train(tiny_run(ffn=sparse()), corpus).runs
    assert [row.run_time_s for row in earlier] == [None, None]
    assert end.run_time_s > end.wall_clock_s + end.eval_time_s
    assert end.eval_share == end.eval_time_s / end.run_time_s


def test_an_annealed_point_equals_a_run_that_was_stopped_there(corpus: PreparedCorpus) -> None:
    """Branching off and coming back leaves no trace: the second half of the trunk does not know of the first branch."""
    with_branches = train(tiny_run(ffn=sparse(router_jitter=0.1)), corpus)
    without = train(tiny_run(ffn=sparse(router_jitter=0.1), train={"anneal_at": [1.0]}), corpus)
    assert with_branches.runs[-1].nll == without.runs[-1].nll
    short = tiny_run(ffn=sparse(router_jitter=0.1), train={"tokens": 2048, "anneal_at": [1.0], "warmup_fraction": 0.04})
    assert train(short, corpus).runs[-1].nll == with_branches.runs[1].nll


def test_the_curve_has_its_regular_points_and_its_annealed_ones(corpus: PreparedCorpus) -> None:
    spec = tiny_run(ffn=sparse(num_experts=3), train={"eval_points": 4})
    steps = train(spec, corpus).steps
    places = [(record.step, record.phase, record.is_annealed) for record in steps]
    # Regular points at steps 0, 4, 8, 12; cooldowns branch off at 3, 6 and 12 of 16 steps.
    assert places == [
        (0, "trunk", False),
        (4, "cooldown", True),
        (4, "trunk", False),
        (8, "cooldown", True),
        (8, "trunk", False),
        (12, "trunk", False),
        (16, "cooldown", True),
    ]
    assert steps[0].expert_load is None
    for record in steps[1:]:
        assert [len(load) for load in record.expert_load] == [3]
        assert sum(record.expert_load[0]) == pytest.approx(1.0)
        assert 0 <= record.dropped_token_fraction < 1
        assert 0 < record.router_entropy[0] <= math.log(3) + 1e-6
    regular = [record.eval_tokens for record in steps if not record.is_annealed]
    assert set(regular) == {512}


def test_twins_see_the_same_data_and_schedule(corpus: PreparedCorpus) -> None:
    """A sparse model of one expert is its dense twin, and ends with the same nll to the bit."""
    one_expert = sparse(num_experts=1, capacity_factor=1.0, aux_loss_weight=0.0)
    dense, single = train(tiny_run(), corpus), train(tiny_run(ffn=one_expert), corpus)
    assert [row.nll for row in dense.runs] == [row.nll for row in single.runs]
    assert [row.nll_capacity for row in single.runs] == [row.nll for row in single.runs]


def test_a_run_that_diverges_is_a_result(corpus: PreparedCorpus) -> None:
    result = train(tiny_run(train={"learning_rate": 1e30, "warmup_fraction": 0.0}), corpus)
    end = result.runs[-1]
    assert end.status == "diverged"
    assert "nll was" in end.reason
    assert end.nll is None
    assert end.parent_run_id is None


def test_two_that_save_the_same_weights_do_not_meet(
    corpus: PreparedCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = start_training(tiny_run(), device=torch.device("cpu"))
    path = tmp_path / "weights.safetensors"
    save_file = checkpoint.save_file

    def save_and_be_overtaken(*arguments: object, **options: object) -> None:
        save_file(*arguments, **options)
        monkeypatch.setattr(checkpoint, "save_file", save_file)
        run.save_weights(state, path)

    monkeypatch.setattr(checkpoint, "save_file", save_and_be_overtaken)
    run.save_weights(state, path)
    assert list(tmp_path.iterdir()) == [path]
    assert load_file(path).keys() == state.model.state_dict().keys()


def test_text_cut_from_the_ends_of_files_carries_its_caveat(corpus: PreparedCorpus) -> None:
    assert all("CUT_FILES" not in row.caveats for row in train(tiny_run(), corpus).runs)
    cut = train(tiny_run(), dataclasses.replace(corpus, is_cut=True))
    assert all("CUT_FILES" in row.caveats for row in cut.runs)


def test_repeated_data_carries_its_caveat(corpus: PreparedCorpus) -> None:
    spec = tiny_run(train={"tokens": 2 * corpus.num_train_tokens, "batch_tokens": 4096, "anneal_at": [0.25, 1.0]})
    early, end = train(spec, corpus).runs
    assert "REPEATED_DATA" not in early.caveats
    assert "REPEATED_DATA" in end.caveats
    assert end.epochs >= 2


def test_the_checkpoint_is_the_trained_model(corpus: PreparedCorpus, tmp_path: Path) -> None:
    spec = tiny_run(ffn=sparse())
    path = tmp_path / "weights.safetensors"
    result = train(spec, corpus, checkpoint=str(path))
    model = build_model(spec)
    model.load_state_dict(load_file(path))
    held_out = read_tokens(corpus.held_out_tokens_path, vocab_size=256)
    assert evaluate(model, held_out, spec=spec, max_tokens=None).nll == result.runs[-1].nll
    assert list(tmp_path.iterdir()) == [path]


def test_progress_counts_the_cooldowns(corpus: PreparedCorpus) -> None:
    seen: list[Progress] = []
    spec = tiny_run()
    train_run(spec, ExecutionSpec(device="cpu"), sweep="test", corpus=corpus, on_progress=seen.append)
    assert seen[-1].tokens_done == seen[-1].tokens_total == spec.train.trained_steps * 256
    assert all(a.tokens_done <= b.tokens_done for a, b in itertools.pairwise(seen))


def test_the_gate_shrinks_a_fresh_sparse_layer_and_unit_at_init_undoes_it() -> None:
    tokens = torch.randint(0, 256, (8, 32), generator=torch.Generator().manual_seed(0))
    ratio = {
        scale: ffn_rms_ratio(
            build_model(tiny_run(ffn=sparse(num_experts=16, gate_scale=scale), model={"d_model": 64})), tokens
        )
        for scale in ("paper", "unit_at_init")
    }
    assert ratio["paper"] < 0.5
    assert 0.9 < ratio["unit_at_init"] < 1.1
    assert ffn_rms_ratio(build_model(tiny_run()), tokens) is None
    assert ffn_rms_ratio(build_model(tiny_run(ffn=sparse(num_experts=1))), tokens) == pytest.approx(1.0)


def test_the_gate_is_looked_at_on_the_first_routing_group() -> None:
    """As much as always fits a device: a whole batch may not."""
    tokens = torch.randint(0, 256, (8, 32), generator=torch.Generator().manual_seed(0))
    model = build_model(tiny_run(ffn=sparse(routing_group_tokens=64)))
    assert ffn_rms_ratio(model, tokens) == ffn_rms_ratio(model, tokens[:2]) != ffn_rms_ratio(model, tokens[2:])


@pytest.mark.parametrize("sequences", [1, 3, 8])
def test_the_nll_is_that_of_all_logits_at_once(sequences: int) -> None:
    generator = torch.Generator().manual_seed(sequences)
    token_BS, target_BS = (torch.randint(0, 256, (sequences, 32), generator=generator) for _ in range(2))
    model, batch = build_model(tiny_run()), Batch(inputs_BS=token_BS, targets_BS=target_BS)
    with torch.no_grad():
        logits_TV = model(token_BS, capacity_factor=None).logits_BSV.flatten(0, 1)
    expected = F.cross_entropy(logits_TV.double(), target_BS.flatten()).item()
    assert score_dropless(model, [batch], spec=tiny_run()) == pytest.approx(expected, rel=1e-6)


def test_evaluation_with_limited_experts_differs_from_the_dropless_one(corpus: PreparedCorpus) -> None:
    held_out = read_tokens(corpus.held_out_tokens_path, vocab_size=256)
    spec = tiny_run(ffn=sparse(capacity_factor=0.25))
    limited = evaluate(build_model(spec), held_out, spec=spec, max_tokens=None)
    assert limited.nll_capacity != limited.nll
    generous = tiny_run(ffn=sparse(capacity_factor=0.25, eval_capacity_factor=4.0))
    again = evaluate(build_model(generous), held_out, spec=generous, max_tokens=None)
    assert again.nll_capacity == pytest.approx(again.nll)
    dense = tiny_run()
    assert evaluate(build_model(dense), held_out, spec=dense, max_tokens=64).nll_capacity is None


def test_learning_rate_by_hand() -> None:
    train_spec = tiny_run(train={"tokens": 25600, "warmup_fraction": 0.1, "learning_rate": 1.0}).train  # 100 steps
    last = train_spec.anneal_points[-1]
    assert (last.branch_step, last.end_step) == (80, 100)
    assert learning_rate_at(train_spec, step=0, point=None) == 0.1
    assert learning_rate_at(train_spec, step=9, point=None) == 1.0
    assert learning_rate_at(train_spec, step=79, point=None) == 1.0
    assert learning_rate_at(train_spec, step=80, point=last) == 1.0
    assert learning_rate_at(train_spec, step=85, point=last) == pytest.approx(0.5)  # 1 - sqrt(1/4)
    assert learning_rate_at(train_spec, step=100, point=last) == 0.0


def test_a_saved_state_continues_to_the_bit(corpus: PreparedCorpus) -> None:
    from switchbench.data.batches import TrainBatches

    spec = tiny_run(ffn=sparse(router_jitter=0.2))
    tokens = read_tokens(corpus.train_tokens_path, vocab_size=256)
    batches = TrainBatches(tokens, seq_len=32, batch_tokens=256, seed=0)
    state = start_training(spec, device=torch.device("cpu"))

    def three_steps() -> list[float]:
        return [take_step(state, batches.batch(step), learning_rate=1e-2).nll.item() for step in range(3)]

    three_steps()
    saved = save_state(state)
    once = three_steps()
    restore_state(state, saved)
    assert three_steps() == once


def test_the_moments_that_a_run_starts_with_are_those_of_its_first_step() -> None:
    states = [start_training(tiny_run(), device=torch.device("cpu")) for _ in range(2)]
    states[1].optimizer.state.clear()
    kept = []
    for state in states:
        for parameter in state.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        state.optimizer.step()
        kept.append([*state.model.parameters(), *_tensors(state.optimizer.state_dict()["state"])])
    assert len(kept[0]) == len(kept[1]) == 4 * len(list(states[0].model.parameters()))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*kept, strict=True))


def _tensors(state: dict[int, dict[str, torch.Tensor]]) -> list[torch.Tensor]:
    return [state[index][name] for index in sorted(state) for name in sorted(state[index])]


def test_weight_decay_spares_the_norm_scales() -> None:
    state = start_training(tiny_run(ffn=sparse()), device=torch.device("cpu"))
    decayed, spared = state.optimizer.param_groups
    assert {parameter.ndim for parameter in decayed["params"]} == {2, 3}
    assert {parameter.ndim for parameter in spared["params"]} == {1}
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)


def test_the_row_says_how_experts_were_computed_and_counts_the_padding(corpus: PreparedCorpus) -> None:
    spec = tiny_run(ffn=sparse())
    loop, padded = train(spec, corpus).runs[-1], train(spec, corpus, dispatch="padded").runs[-1]
    assert (loop.dispatch, padded.dispatch) == ("loop", "padded")
    assert padded.executed_train_flops == pytest.approx(padded.provisioned_train_flops, rel=1e-12)
    assert loop.executed_train_flops < padded.executed_train_flops
    assert padded.nll == pytest.approx(loop.nll, rel=1e-3)
    assert train(tiny_run(), corpus).runs[-1].dispatch is None


def test_runs_that_share_a_gpu_say_so(corpus: PreparedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be no GPU here: the facts of one are made up, and what the row makes of them is not."""
    facts = machine_facts(torch.device("cpu"))
    on_gpu = dataclasses.replace(facts, device="cuda")
    alone, shared = ExecutionSpec(), ExecutionSpec(runs_per_gpu=2)
    assert provenance(tiny_run(), facts, execution=shared)["runs_per_gpu"] is None
    assert provenance(tiny_run(), on_gpu, execution=alone)["runs_per_gpu"] == 1
    columns = provenance(tiny_run(), on_gpu, execution=shared)
    assert columns["runs_per_gpu"] == 2
    assert "SHARED_GPU" not in train(tiny_run(), corpus).runs[-1].caveats
    monkeypatch.setattr(run, "provenance", lambda *args, **rest: columns)
    assert all("SHARED_GPU" in row.caveats for row in train(tiny_run(), corpus).runs)
