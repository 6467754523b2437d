"""`switchbench show`, with the real command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from switchbench.cost import cost_of
from switchbench.inspection.differences import differences, flat
from switchbench.record import Progress
from switchbench.spec import RunSpec
from switchbench.store import SweepFolder, read_manifest, write_run
from tests.factories import make_runs, make_spec, make_steps
from tests.inspection.conftest import Command, claims_on, write_mixed


def show(command: Command, *words: str) -> dict[str, Any]:
    answer = command("show", *words, "--json")
    assert (answer.code, answer.err) == (0, "")
    content = json.loads(answer.out)
    assert isinstance(content, dict)
    return content


def leave_a_result(folder: SweepFolder, **fields: Any) -> RunSpec:
    """The result of a run that the manifest does not name."""
    spec = make_spec(**fields)
    write_run(folder, runs=make_runs(spec, nll=(2.2, 2.1, 2.0)), steps=make_steps(spec, nll=[3.0]), spec=spec)
    return spec


def test_everything_about_a_run(command: Command, mixed: SweepFolder) -> None:
    cell = read_manifest(mixed).cells[0]
    content = show(command, cell.run_id)
    spec = RunSpec.model_validate(cell.spec)
    assert content["run_id"] == spec.run_id == cell.run_id
    assert content["config_id"] == spec.config_id
    assert (content["label"], content["role"], content["seed"], content["status"]) == ("16 experts", "sparse", 0, "ok")
    assert RunSpec.model_validate(content["spec"]) == spec
    assert content["not_default"]["model.ffn.num_experts"] == 16
    assert content["not_default"]["train.tokens"] == 2_400_000
    assert "train.learning_rate" not in content["not_default"]
    assert content["cost"]["params_total"] == cost_of(spec).parameters.total
    assert [row["nll"] for row in content["rows"]] == [2.1, 2.0, 1.9]
    (timing,) = content["timings"]
    assert (timing["config_id"], timing["step_time_s"]) == (spec.config_id, 0.02)
    (twin,) = content["twins"]
    assert (twin["label"], twin["matched_on"]) == ("dense", "iso_flop")
    assert twin["run_id"] == next(
        each.run_id for each in read_manifest(mixed).cells if each.role == "dense" and each.seed == 0
    )
    assert content["nearest"] is content["changed"] is content["heartbeat"] is None
    text = command("show", cell.run_id).out
    for part in (
        "16 experts, seed 0",
        "model.ffn.num_experts  16 (default 8)",
        "Done.",
        "1.9000",
        "305k, 58.8k active",
        "20.0 ms",
    ):
        assert part in text
    assert f"Log: results/capacity/logs/{cell.run_id}.log" in text


def test_a_checkpoint_that_was_kept(command: Command, mixed: SweepFolder) -> None:
    run_id = read_manifest(mixed).cells[0].run_id
    assert show(command, run_id)["checkpoint"] is None
    assert "Checkpoint" not in command("show", run_id).out
    mixed.timing_weights_path(run_id).write_bytes(b"weights")  # the timing pass will remove them
    assert show(command, run_id)["checkpoint"] is None
    mixed.checkpoint_path(run_id).write_bytes(b"weights")
    assert show(command, run_id)["checkpoint"] == f"results/capacity/checkpoints/{run_id}.safetensors"
    assert f"Checkpoint: results/capacity/checkpoints/{run_id}.safetensors" in command("show", run_id).out
    assert "; 1 checkpoint kept" in command("status").out


def test_a_dense_run_names_those_whose_twin_it_is(command: Command, mixed: SweepFolder) -> None:
    cells = read_manifest(mixed).cells
    dense = next(cell for cell in cells if cell.role == "dense" and cell.seed == 1)
    twins = {twin["run_id"] for twin in show(command, dense.run_id)["twins"]}
    assert twins == {cell.run_id for cell in cells if cell.role == "sparse" and cell.seed == 1}
    assert "Dense twin of" in command("show", dense.run_id).out


def test_a_run_that_failed_and_one_that_runs(command: Command, mixed: SweepFolder) -> None:
    failed, missing = read_manifest(mixed).cells[1], read_manifest(mixed).cells[-1]
    assert show(command, failed.run_id)["reason"] == "the worker was killed by signal 9"
    assert "Ended: crashed: the worker was killed by signal 9" in command("show", failed.run_id).out
    assert "It has no result yet." in command("show", missing.run_id).out
    with claims_on(mixed) as claims:
        claims.try_claim(missing.run_id)
        claims.beat(missing.run_id, progress=Progress(tokens_done=1, tokens_total=2, nll=None))
        assert show(command, missing.run_id)["state"] == "running"
        assert "Running: starting" in command("show", missing.run_id).out


def test_the_start_of_an_id_is_enough(command: Command, mixed: SweepFolder) -> None:
    ids = [cell.run_id for cell in read_manifest(mixed).cells]
    for run_id in ids:
        length = next(n for n in range(1, 13) if sum(each.startswith(run_id[:n]) for each in ids) == 1)
        assert show(command, run_id[:length])["run_id"] == run_id
        if length > 1:
            answer = command("show", run_id[: length - 1])
            assert answer.code == 2
            assert run_id in answer.err
    assert show(command, f"{ids[0]}-a0.25")["run_id"] == ids[0]
    assert show(command, ids[0].upper())["run_id"] == ids[0]


def test_an_id_that_there_is_not(command: Command, mixed: SweepFolder) -> None:
    run_id = read_manifest(mixed).cells[0].run_id
    typed = run_id[:5] + ("0" if run_id[5] != "0" else "1") + run_id[6:]
    answer = command("show", typed)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: There is no run '{typed}' among 11. The nearest ids: {run_id} (capacity)")
    configuration = command("show", read_manifest(mixed).cells[0].config_id)
    assert configuration.code == 2
    assert run_id in configuration.err
    assert command("show", run_id, "elsewhere").code == 4
    assert command("show", *[run_id] * 4).code == 2
    assert command("show").code == 2


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"num_experts": 16, "train": {"learning_rate": 0.02}}, {"train.learning_rate": (0.02, 0.005)}),
        ({"num_experts": 16, "seed": 9}, {"seed": (9, 0)}),
        (
            {"num_experts": 16, "tokens": 1_200_000, "ffn": {"top_k": 2, "router": "top_k"}},
            {
                "train.tokens": (1_200_000, 2_400_000),
                "model.ffn.top_k": (2, 1),
                "model.ffn.router": ("top_k", "switch"),
            },
        ),
    ],
)
def test_what_changed_the_id_of_a_run_that_is_no_longer_in_the_file(
    command: Command, mixed: SweepFolder, fields: dict[str, Any], changed: dict[str, tuple[Any, Any]]
) -> None:
    spec = leave_a_result(mixed, **fields)
    content = show(command, spec.run_id)
    assert (content["is_in_manifest"], content["nearest"]["run_id"]) == (False, read_manifest(mixed).cells[0].run_id)
    assert {each["field"]: tuple(each["values"]) for each in content["changed"]} == changed
    text = command("show", spec.run_id).out
    assert "It is no longer in the sweep file" in text
    for field, (before, after) in changed.items():
        was, is_ = (repr(value) if isinstance(value, str) else str(value) for value in (before, after))
        assert f"  {field}: was {was}, is {is_}" in text


def test_another_text_is_said_in_words(command: Command, mixed: SweepFolder) -> None:
    spec = make_spec(num_experts=16).model_copy(update={"data_fingerprint": "ba9876543210"})
    write_run(mixed, runs=make_runs(spec, nll=(2.2, 2.1, 2.0)), steps=[], spec=spec)
    text = command("show", spec.run_id).out
    assert "data_fingerprint: was 'ba9876543210', is '0123456789ab'" in text
    assert "the text, its tokenizer or its split has changed" in text


def test_two_runs(command: Command, mixed: SweepFolder, tmp_path: Path) -> None:
    cells = read_manifest(mixed).cells
    sparse, other = cells[0], cells[5]
    content = show(command, sparse.run_id, other.run_id[:8], "results")
    assert [run["run_id"] for run in content["runs"]] == [sparse.run_id, other.run_id]
    assert {each["field"]: each["values"] for each in content["differences"]} == {
        "model.ffn.num_experts": [16, 4],
        "seed": [0, 1],
    }
    text = command("show", sparse.run_id, other.run_id).out
    assert text.splitlines()[-2].split() == ["model.ffn.num_experts", "16", "4"]
    assert "They are the same run" in command("show", sparse.run_id, sparse.run_id).out
    elsewhere = write_mixed(tmp_path / "others", name="zoo")
    assert show(command, sparse.run_id, other.run_id, str(elsewhere.path))["runs"][0]["sweep"] == "zoo"


def test_differences_are_those_of_the_flat_values() -> None:
    specs = [make_spec(), make_spec(num_experts=4), make_spec(size="xs", train={"betas": [0.9, 0.99]})]
    for first in specs:
        for second in specs:
            left, right = (flat(spec.model_dump(mode="json")) for spec in (first, second))
            paths = sorted(left.keys() | right.keys())
            missing = object()
            expected = {path for path in paths if left.get(path, missing) != right.get(path, missing)}
            found = differences(first.model_dump(mode="json"), second.model_dump(mode="json"))
            assert {each.field for each in found} == expected
            assert any(each.is_identity for each in found) == (first.run_id != second.run_id)


def test_a_result_that_says_nothing(command: Command, mixed: SweepFolder) -> None:
    spec = leave_a_result(mixed, num_experts=16, seed=9)
    (mixed.runs / f"{spec.run_id}.parquet").write_bytes(b"")
    answer = command("show", spec.run_id)
    assert answer.code == 2
    assert "`switchbench prune` removes it" in answer.err


def test_the_same_run_in_two_sweeps(command: Command, mixed: SweepFolder, tmp_path: Path) -> None:
    write_mixed(tmp_path / "results", name="zoo")
    content = show(command, read_manifest(mixed).cells[0].run_id)
    assert (content["sweep"], content["also_in"]) == ("capacity", ["zoo"])


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_it_fits_the_terminal(
    command: Command, mixed: SweepFolder, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    spec = leave_a_result(mixed, num_experts=16, train={"learning_rate": 0.02})
    for words in ((spec.run_id,), (spec.run_id, read_manifest(mixed).cells[0].run_id)):
        lines = command("show", *words).out.splitlines()
        assert max(len(line.rstrip()) for line in lines if not line.startswith("Log: ")) <= columns
