"""Published totals, to the last weight where they are known so exactly, and Table 9's FLOPs at printed precision."""

import pytest

from switchbench.cost import forward_flops_of, paper_forward_flops, parameters_of
from switchbench.published import PUBLISHED


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
