"""The command, from runs that were really trained to text; and what it says where there is none."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from switchbench import cli
from switchbench.generate.text import printable
from switchbench.store import SweepFolder, write_manifest, write_run
from tests.factories import make_runs
from tests.generate.conftest import COMMAND, Trained, manifest_of
from tests.inspection.conftest import Answer, on_terminal

Command = Callable[..., Answer]


@pytest.fixture
def command(trained: Trained, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs `switchbench generate` in this process."""

    def command(*words: str, results: Path = trained.root) -> Answer:
        monkeypatch.setattr(sys, "argv", ["switchbench", "generate", *words, "--results", str(results)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Answer(int(ended.value.code or 0), out, err)

    return command


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> Path:
    """Results of our own to damage."""
    shutil.copytree(trained.root, tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.parametrize("name", ["dense", "switch", "subwords"])
def test_text_goes_on_from_the_prompt_and_is_the_same_for_the_same_seed(
    command: Command, trained: Trained, name: str
) -> None:
    words = (trained.run_id(name)[:6], "--prompt", "näh", "--tokens", "20", "--seed", "1")
    first, again, other = command(*words), command(*words), command(*words[:-1], "2")
    assert (first.code, first.out) == (0, again.out)
    assert first.out.startswith("näh")
    assert first.out != other.out
    assert "tokens/s; " in first.err
    content = json.loads(command(*words, "--json").out)
    assert first.out == printable(f"näh{content['text']}\n")
    assert (content["run_id"], content["seed"], content["trace"]) == (trained.run_id(name), 1, None)
    assert content["ended_by"] in ("length", "model")


def test_the_trace_as_a_table_and_as_arrays(command: Command, trained: Trained) -> None:
    words = (trained.run_id("switch"), "--prompt", "n 1", "--tokens", "4", "--temperature", "0", "--trace")
    content = json.loads(command(*words, "--json").out)
    trace, num_tokens = content["trace"], 1 + 3 + len(content["tokens"])
    assert trace["layers"] == [0, 1]
    assert trace["num_prompt_tokens"] == 4
    assert trace["texts"][:4] == ["(new document)", "n", " ", "1"]
    for name in ("tokens", "texts", "experts", "gates"):
        assert len(trace[name]) == num_tokens
    assert all(len(layer) == 1 and 0 <= layer[0] < 4 for token in trace["experts"] for layer in token)
    lines = command(*words).out.splitlines()
    header = next(index for index, line in enumerate(lines) if line.startswith("token "))
    rows = lines[header + 1 :]
    assert len(rows) == num_tokens
    for row, experts, gates in zip(rows, trace["experts"], trace["gates"], strict=True):
        numbers = row.replace("(new document)", "new").split()[1:]
        expected = [
            text for [expert], [gate] in zip(experts, gates, strict=True) for text in (str(expert), f"{gate:.2f}")
        ]
        assert numbers == expected
    assert rows[2].startswith("␣")


def test_text_longer_than_a_training_sequence_says_so(command: Command, trained: Trained) -> None:
    answer = command(trained.run_id("dense"), "--prompt", "näh " * 10, "--tokens", "1")
    assert (
        "note: the text is longer than the 32 tokens of a training sequence; each token sees the last 32" in answer.err
    )
    assert "longer" not in command(trained.run_id("dense"), "--tokens", "1").err


def test_on_a_terminal_nothing_but_text(trained: Trained) -> None:
    printed = on_terminal(
        "generate", trained.run_id("switch"), "--prompt", "a\x1b[31m", "--tokens", "5", "--results", str(trained.root),
        SWITCHBENCH_CACHE=str(trained.cache),
    )  # fmt: skip
    assert printed.startswith("a\\x1b[31m")
    assert "\x1b" not in printed


def test_what_cannot_write(command: Command, trained: Trained) -> None:
    answer = command(trained.run_id("expert_choice"))
    assert answer.code == 2
    assert "experts choose their tokens with a look at later ones" in answer.err
    answer = command(trained.run_id("dense"), "--trace")
    assert (answer.code, answer.out) == (2, "")
    assert "is dense, it has no experts" in answer.err
    assert "only the weights of a run's end are kept" in command(f"{trained.run_id('dense')}-a0.25").err
    answer = command("0" * 12)
    assert answer.code == 2
    assert "There is no run '000000000000'" in answer.err
    assert "The nearest ids" in answer.err
    for words in (("--tokens", "0"), ("--threads", "0"), ("--seed", "-1"), ("--top-p", "2"), ("--temperature", "-1")):
        answer = command(trained.run_id("dense"), *words)
        assert answer.code == 2
        assert "out of range" in answer.err


def test_a_run_on_symbols_cannot_write(command: Command, trained: Trained, tmp_path: Path) -> None:
    spec = trained.specs["dense"]
    symbols = spec.model_copy(update={"data": spec.data.model_copy(update={"corpus": "zipf-markov", "path": None})})
    folder = SweepFolder(tmp_path / "symbols")
    folder.create()
    write_manifest(folder, manifest_of([symbols]))
    answer = command(symbols.run_id, results=tmp_path)
    assert answer.code == 2
    assert "was trained on generated symbols" in answer.err


def test_where_there_is_no_checkpoint_it_says_why(command: Command, trained: Trained, copied: Path) -> None:
    spec, folder = trained.specs["switch"], SweepFolder(copied / "small")
    folder.checkpoint_path(spec.run_id).unlink()
    answer = command(spec.run_id, results=copied)
    assert answer.code == 2
    assert f"the weights of run {spec.run_id} of sweep small were not kept" in answer.err
    assert f"{COMMAND} --keep-checkpoints --force" in answer.err
    (folder.runs / f"{spec.run_id}.parquet").unlink()
    answer = command(spec.run_id, results=copied)
    assert "has no result yet" in answer.err
    assert f"{COMMAND} --keep-checkpoints\n" in answer.err


def test_a_run_that_diverged_has_no_weights(command: Command, trained: Trained, copied: Path) -> None:
    spec, folder = trained.specs["switch"], SweepFolder(copied / "small")
    folder.checkpoint_path(spec.run_id).unlink()
    write_run(folder, runs=make_runs(spec, nll=[None], sweep="small", status="diverged"), steps=[], spec=spec)
    answer = command(spec.run_id, results=copied)
    assert answer.code == 2
    assert "ended with status diverged: it has no final weights" in answer.err


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "other shape", "not finite"])
def test_a_damaged_checkpoint(command: Command, trained: Trained, copied: Path, damage: str) -> None:
    spec, folder = trained.specs["switch"], SweepFolder(copied / "small")
    path = folder.checkpoint_path(spec.run_id)
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()}
    match damage:
        case "cut":
            os.truncate(path, path.stat().st_size // 2)
        case "empty":
            path.write_bytes(b"")
        case "other":
            shutil.copy(folder.checkpoint_path(trained.run_id("dense")), path)
        case "other shape":
            save_file(weights | {"embedding": weights["embedding"][:-1]}, path)
        case "not finite":
            weights["embedding"][3, 3] = float("nan")
            save_file(weights, path)
    answer = command(spec.run_id, results=copied)
    assert (answer.code, answer.out) == (2, "")
    assert str(path) in answer.err
    assert f"{COMMAND} --keep-checkpoints --force" in answer.err


def test_the_checkpoint_may_be_in_another_sweep_that_has_the_run(
    command: Command, trained: Trained, copied: Path
) -> None:
    spec = trained.specs["dense"]
    first = SweepFolder(copied / "first")
    first.create()
    write_manifest(first, manifest_of([spec]))
    assert command(spec.run_id, "--tokens", "2", results=copied).code == 0


def test_a_learned_tokenizer_whose_text_is_gone(
    command: Command, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHBENCH_CACHE", str(tmp_path / "empty"))
    spec = trained.specs["subwords"]
    assert command(spec.run_id, "--tokens", "2").code == 0  # prepared again
    monkeypatch.setenv("SWITCHBENCH_CACHE", str(tmp_path / "empty too"))
    assert spec.data.path is not None
    text = Path(spec.data.path) / "0.txt"
    before = text.read_bytes()
    text.write_text("something else")
    try:
        answer = command(spec.run_id, "--tokens", "2")
    finally:
        text.write_bytes(before)
    assert answer.code == 2
    assert "has changed since" in answer.err
