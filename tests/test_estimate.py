"""What models cost, by name, through the real command line."""

import json
import subprocess
import sys

import pytest

from switchbench.cost import count_parameters
from switchbench.errors import SpecError
from switchbench.estimate import estimate
from switchbench.spec import ModelSpec


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "switchbench", "cost", *arguments], capture_output=True, text=True, check=False
    )


def test_json_holds_table_9() -> None:
    done = run("t5-base", "switch-base-128", "switch-c-2048", "--convention", "paper", "--json")
    answer = json.loads(done.stdout)
    assert answer["convention"] == "paper"
    dense, sparse, huge = answer["models"]
    assert dense["params_total"] == 222_903_552
    assert round(dense["forward_flops_per_sequence"] / 1e9, 2) == 124.45
    assert sparse["forward_flops_per_sequence"] == dense["forward_flops_per_sequence"]
    assert huge["params_total"] == 1_571_308_972_448
    assert round(huge["forward_flops_per_sequence"] / 1e9, 1) == 893.6
    assert huge["memory_bytes"] == {name: size * huge["params_total"] for name, size in
                                    {"weights": 4, "gradients": 4, "optimizer": 8}.items()}  # fmt: skip
    assert huge["train_flops_per_token"] == 3 * huge["forward_flops_per_token"]


def test_components_add_up() -> None:
    for each in estimate(["xs", "xs-16", "switch-base-8", "mixtral-8x7b", "deepseekmoe-16b"]):
        row = each.as_json()
        parts = row["forward_flops_per_token_by_component"]
        assert sum(parts.values()) == pytest.approx(row["forward_flops_per_token"])
        inactive = row["parameters"].pop("inactive")
        assert sum(row["parameters"].values()) == row["params_total"] == row["params_active"] + inactive


def test_a_size_is_the_model_that_a_sweep_trains() -> None:
    (small,) = estimate(["s-4"])
    model = ModelSpec.model_validate({"size": "s", "ffn": {"kind": "sparse", "num_experts": 4}})
    assert small.as_json()["params_total"] == count_parameters(model, vocab_size=256).total


def test_the_table_names_what_it_counts_and_what_the_print_has_wrong() -> None:
    done = run("switch-xxl-128", "xxs")
    assert done.returncode == 0
    assert "395B" in done.stdout
    assert "Table 9 prints 64 experts" in " ".join(done.stdout.split())
    assert "no activations" in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", ["t5-bse", "xxs-0", "xxs-x", "xl", "a.yaml", ""])
def test_an_unknown_model_is_refused_with_the_known_ones(name: str) -> None:
    done = run(name)
    assert done.returncode == 2
    assert "known are the sizes xxs" in done.stderr
    assert done.stdout == ""


def test_the_papers_convention_is_for_its_models_alone() -> None:
    with pytest.raises(SpecError, match="encoder-decoder"):
        estimate(["t5-base", "llama-3-8b"], convention="paper")


def test_neither_torch_nor_pandas_is_imported() -> None:
    program = (
        "import sys; from switchbench.estimate import estimate; estimate(['switch-c-2048'])[0].as_json();"
        "print({'torch', 'pandas', 'pyarrow', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
