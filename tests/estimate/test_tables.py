"""The answer in the terminal, and the command that gives it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.text import write_sweep


def run(*arguments: str, columns: int = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "switchbench", "cost", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": str(columns), "NO_COLOR": "1"},
    )


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_table_names_what_it_counts_and_what_the_print_has_wrong() -> None:
    done = run("switch-xxl-128", "xxs")
    assert (done.returncode, done.stderr) == (0, "")
    assert "395B" in done.stdout
    assert "by our convention" in words(done.stdout)
    assert "Table 9 prints 64 experts" in words(done.stdout)
    assert "512 source and 114 target tokens (switch-xxl-128); 128 tokens (xxs)" in words(done.stdout)
    assert "by the paper's convention" in words(run("t5-base", "--convention", "paper").stdout)


def test_what_is_to_be_said_of_several_models_is_said_once() -> None:
    text = words(run("clark-15m", "clark-15m-8", "t5-large").stdout)
    assert "A sequence has 2048 tokens (clark-15m, clark-15m-8); 512 source" in text
    assert text.count("clark-15m, clark-15m-8: Counted with plain attention") == 1
    assert text.count("Counted with plain attention") == 1


def test_json_is_alone_on_stdout_and_holds_everything() -> None:
    done = run("switch-c-2048", "--devices", "2048", "--device-memory", "80GiB", "--json")
    answer = json.loads(done.stdout)
    assert (answer["schema_version"], answer["convention"]) == (1, "ours")
    assert "our convention" in answer["caption"]
    (model,) = answer["models"]
    assert model["params_total"] == 1_571_308_972_448
    assert {
        "name", "params_total", "params_active", "forward_flops_per_token", "forward_flops_per_sequence",
        "train_flops_per_token", "memory_bytes", "parameters", "forward_flops_per_token_by_component",
        "activation_bytes_by_component",
    } <= set(model)  # fmt: skip
    assert {"weights", "gradients", "optimizer", "activations", "logits", "dispatch", "temporary", "peak"} <= set(
        model["memory_bytes"]
    )
    devices = model["devices"]
    assert devices["expert_parallel"]["fits"] is True
    assert devices["expert_parallel"]["least_devices"] == 410  # five of the 2048 experts of a layer on each
    assert "top_k x capacity_factor x d_model" in devices["all_to_all"]["formula"]


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_answer_is_as_wide_as_the_terminal_and_cuts_nothing(columns: int, tmp_path: Path) -> None:
    write_sweep(tmp_path / "small.yaml", corpus=tmp_path / "corpus")
    asked = [
        "switch-c-2048",
        "mixtral-8x7b",
        "xs-16",
        str(tmp_path / "small.yaml"),
        "sweep.grid.train.weight_decay=[0.1]",
    ]
    done = run(*asked, "--breakdown", "--devices", "64", "--device-memory", "80GiB", columns=columns)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert "…" not in done.stdout
    for text in (
        "1.57T",
        "46.7B",
        "22.9 TiB",
        "all-to-all a step",
        "Provisioned:",
        "none fit",
        "there and back",
    ):
        assert text in words(done.stdout)
    # Each model heads a column once in each of the five tables, and is named once in the first.
    assert len(re.findall(r"\bswitch-c-2048\b", done.stdout.partition("FLOPs by")[0])) == 6


def test_only_the_number_or_only_the_memory_of_devices() -> None:
    number = run("switch-c-2048", "--devices", "2048").stdout
    assert "expert parallel (2048)" in number
    assert "fits" not in number
    memory = words(run("switch-c-2048", "--device-memory", "80GiB").stdout)
    assert "expert parallel (the fewest of 80.0 GiB that fit)" in memory
    assert "fewest devices 410" in memory


def test_a_model_that_no_number_of_devices_holds_is_told_why() -> None:
    text = words(run("mixtral-8x7b", "--device-memory", "80GiB").stdout)
    assert "does not fit devices of 80.0 GiB, whatever their number: 23.9 GiB of state are replicated on each" in text
    assert "model parallelism or a sharded optimizer; sharded, it fits 15 devices or more" in text
    text = words(run("t5-base", "--device-memory", "1MiB").stdout)
    assert "the activations alone take 334 MiB on each. It needs fewer tokens a step" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["t5-bse"], "Did you mean 't5-base'"),
        (["absent.yaml"], "absent.yaml"),
        (["t5-base", "--device-memory", "80G"], "--device-memory must be a number of bytes with its unit"),
        (["t5-base", "--batch-tokens", "1000"], "the nearest is 626 or 1252"),
        (["t5-base", "--batch-tokens", "0"], "--batch-tokens"),
        (["t5-base", "--devices", "0"], "--devices"),
        (["t5-base", "--precision", "float16"], "'float16' is not one of"),
        (["xs", "--convention", "paper"], "use --convention ours"),
        ([], "MODEL"),
    ],
)
def test_bad_requests_end_with_a_message(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in words(done.stderr)
    assert "Traceback" not in done.stderr


def test_problems_of_a_sweep_file_read_as_those_of_the_sweep_command(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    write_sweep(file, corpus=tmp_path / "corpus")
    file.write_text(file.read_text(encoding="utf-8").replace("eval_points", "eval_pionts"), encoding="utf-8")
    by_sweep = subprocess.run(
        [sys.executable, "-m", "switchbench", "sweep", str(file), "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
    )
    by_cost = run(str(file))
    assert (by_cost.returncode, by_cost.stderr) == (by_sweep.returncode, by_sweep.stderr)
    assert by_cost.returncode == 2


def test_models_by_name_are_answered_without_anything_slow() -> None:
    program = (
        "import sys; from switchbench.cli.cost import cost; cost(['switch-c-2048', 'xs'], breakdown=True);"
        "print({'torch', 'pandas', 'pyarrow', 'scipy', 'numpy'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
