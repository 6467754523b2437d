"""Published totals, to the last weight where they are known so exactly, and printed FLOPs at printed precision."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from switchbench.cost import forward_flops_of, paper_forward_flops, parameters_of
from switchbench.published import PUBLISHED

CLARK_RUNS = Path(__file__).resolve().parents[2] / "shared" / "data" / "clark_routed" / "clark_final_223.csv"
CLARK_BATCH_TOKENS = 524_288


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("t5-base", 222_903_552),
        ("switch-base-128", 7_415_217_408),
        ("switch-c-2048", 1_571_308_972_448),
        ("llama-2-7b", 6_738_415_616),
        ("llama-3-8b", 8_030_261_248),
        ("mixtral-8x7b", 46_702_792_704),
        ("olmoe-1b-7b", 6_919_161_856),
        ("deepseekmoe-16b", 16_375_728_128),
    ],
)
def test_total_parameters_are_the_published_ones(name: str, total: int) -> None:
    assert parameters_of(PUBLISHED[name].architecture).total == total


@pytest.mark.parametrize(
    ("name", "billions", "giga_flops"),
    [
        ("t5-base", 0.2, 124),
        ("t5-large", 0.7, 425),
        ("t5-xxl", 11, 6300),
        ("switch-base-128", 7, 124),
        ("switch-large-128", 26, 425),
        ("switch-xxl-128", 395, 6300),
        ("switch-c-2048", 1571, 890),
    ],
)
def test_table_9_comes_out_at_printed_precision(name: str, billions: float, giga_flops: float) -> None:
    """Parameters in billions and FLOPs per sequence, each to the digits that the paper prints."""
    architecture = PUBLISHED[name].architecture
    assert parameters_of(architecture).total / 1e9 == pytest.approx(billions, rel=0.06, abs=0.05)
    counted = paper_forward_flops(architecture) / 1e9
    # Three digits; XXL is printed with two, and Switch-C's 893.6 as 890.
    assert counted == pytest.approx(giga_flops, rel=0.007)


def test_paper_convention_by_hand() -> None:
    """T5-Base: 12 + 12 layers of width 768, 512 source and 114 target tokens."""
    attention, ffn = 4 * 768**2, 2 * 768 * 3072
    encoder = 2 * 512 * 12 * (attention + ffn)
    decoder = 2 * 114 * 12 * (2 * attention + ffn)
    output = 2 * 32128 * 768 * 114
    maps = 2 * 12 * 768 * (512**2 + 114**2 / 2 + 512 * 114)
    assert paper_forward_flops(PUBLISHED["t5-base"].architecture) == encoder + decoder + output + maps


def test_our_convention_by_hand() -> None:
    """The same model: keys and values of the second attention are made once per source token, maps counted in full."""
    width = 768
    encoder = 2 * 512 * 12 * (4 * width**2 + 2 * width * 3072)
    decoder = 2 * 114 * 12 * (6 * width**2 + 2 * width * 3072) + 2 * 512 * 12 * 2 * width**2
    output = 2 * 32128 * width * 114
    maps = 4 * 12 * width * (512**2 + 114**2 + 512 * 114)
    counted = forward_flops_of(PUBLISHED["t5-base"].architecture, source_len=512, target_len=114)
    assert counted.total.total == encoder + decoder + output + maps


def test_a_sparse_models_active_parameters_are_those_of_its_experts_per_token() -> None:
    for published in PUBLISHED.values():
        a = published.architecture
        counted = parameters_of(a)
        idle = a.sparse_layers * (a.num_experts - a.top_k) * a.ffn_matrices * a.d_model * a.expert_d_ff
        assert counted.active == counted.total - idle
        assert published.source


def test_a_switch_model_has_its_dense_models_flops_but_for_the_router() -> None:
    dense, sparse = (
        forward_flops_of(PUBLISHED[name].architecture, source_len=512, target_len=114).total
        for name in ("t5-base", "switch-base-64")
    )
    assert sparse.total - sparse.router == dense.total
    assert sparse.router == 2 * 768 * 64 * 6 * (512 + 114)


@pytest.mark.parametrize(
    ("size", "millions", "giga_flops"),
    [
        ("xs", 46, 316),
        ("small", 125, 879),
        ("medium", 356, 2487),
        ("large", 760, 5122),
        ("xl", 1316, 8684),
        ("xs-64", 839, 316),
        ("small-64", 3693, 879),
        ("medium-64", 13041, 2487),
    ],
)
def test_megablocks_tables_come_out_at_printed_precision(size: str, millions: int, giga_flops: int) -> None:
    """With what Megatron-LM's GPT has and we do not count; experts there have no biases, and routers no FLOPs."""
    published = PUBLISHED[f"megablocks-{size}"]
    a, length = published.architecture, published.sequence_len
    positions = length * a.d_model
    offsets = (2 * a.decoder_layers + 1) * a.d_model
    biases = a.decoder_layers * 4 * a.d_model + (a.decoder_layers - a.sparse_layers) * (a.d_ff + a.d_model)
    assert round((parameters_of(a).total + positions + offsets + biases) / 1e6) == millions
    forward = forward_flops_of(a, source_len=0, target_len=length).total
    assert round(3 * (forward.total - forward.router) / 1e9) == giga_flops


def test_clarks_run_table_comes_out_to_the_last_parameter_and_flop() -> None:
    """Every dense and S-Base run of the ladder, with what Transformer-XL has and we do not count.

    Its layers have a fifth attention matrix, offsets in their norms, and no norm at the end; embeddings are left out.
    Its FLOPs include the fifth matrix, a third map, and elementwise work: 3 per logit of a map, 10 per width and token.
    """
    checked = set()
    for run in clark_runs():
        experts = int(run["num_experts"])
        name = f"clark-{run['model_size_label'].lower()}" + (f"-{experts}" if experts > 1 else "")
        published = PUBLISHED[name]
        a, length = published.architecture, published.sequence_len
        assert (a.d_model, a.decoder_layers, a.num_heads, a.d_head) == tuple(
            int(run[column]) for column in ("d_model", "num_blocks", "num_heads", "kqv_size")
        )
        counted, width = parameters_of(a), a.num_heads * a.d_head
        others = a.decoder_layers * (a.d_model * width + 2 * a.d_model) - a.d_model
        assert counted.non_embedding + others == float(run["total_parameter_count"])
        # Theirs counts a dense model of the same shape: no router.
        dense = counted.non_embedding - counted.inactive - counted.router
        assert dense + others == float(run["dense_parameter_count"])
        elementwise = 3 * length * a.num_heads + 10 * a.d_model
        per_token = a.decoder_layers * (2 * a.d_model * width + 2 * width * length + elementwise)
        forward = forward_flops_of(a, source_len=0, target_len=length).per_token.total
        assert (forward + per_token) * CLARK_BATCH_TOKENS == float(run["flops_per_step"])
        checked.add(name)
    assert len(checked) == 59
    # The only size and number of experts of the ladder, but for 870M, that they did not train with S-Base.
    others = {name for name in PUBLISHED if name.startswith("clark-")} - checked
    assert {name for name in others if "870m" not in name} == {"clark-130m-256"}


def test_the_rung_of_clarks_ladder_that_is_not_in_the_run_table() -> None:
    """The only shape of its kind whose count, as in the test above, rounds to its name; and it says so."""
    counts = {}
    for width in range(1536, 2049, 128):
        for layers in range(1, 61):
            shape = replace(
                PUBLISHED["clark-1.3b"].architecture,
                d_model=width,
                d_ff=4 * width,
                num_heads=width // 128,
                num_kv_heads=width // 128,
                decoder_layers=layers,
            )
            counts[width, layers] = parameters_of(shape).non_embedding + layers * (width**2 + 2 * width) - width
    assert (counts[1536, 12], counts[2048, 24]) == (368_123_904, 1_308_819_456)
    near = {shape: count for shape, count in counts.items() if 865e6 <= count < 875e6}
    assert near == {(2048, 16): 872_546_304}
    found = PUBLISHED["clark-870m"].architecture
    assert (found.d_model, found.decoder_layers, found.num_heads, found.d_head) == (2048, 16, 16, 128)
    assert "inferred" in (PUBLISHED["clark-870m-8"].note or "")
    assert "inferred" not in (PUBLISHED["clark-1.3b-8"].note or "")


def clark_runs() -> list[dict[str, str]]:
    """Their dense and S-Base runs with every other layer sparse, one expert per token, and nothing widened."""
    if not CLARK_RUNS.exists():
        pytest.skip(f"needs the published run table of Clark et al. at {CLARK_RUNS}")
    with CLARK_RUNS.open(encoding="utf-8", newline="") as lines:
        return [
            run
            for run in csv.DictReader(lines)
            if run["router_type"] in ("Dense", "S-Base")
            and (float(run["routing_frequency"]), float(run["k"]), float(run["flop_increase"])) == (0.5, 1, 1)
        ]
