"""Published architectures by name: data and where it comes from, no logic but the tables.

Where a paper's print contradicts its own arithmetic, the entry follows the arithmetic and its note says so.
"""

from dataclasses import dataclass, replace
from functools import partial

from switchbench.spec import Architecture

_SWITCH = "Fedus, Zoph, Shazeer 2022 (arXiv:2101.03961), Table 9"
_CLARK = (
    "Clark et al. 2022 (arXiv:2202.01169), run table in google-deepmind/scaling_laws_for_routing; d_ff, vocabulary and "
    "sequence length are those that give its counts to the last parameter and FLOP"
)
_CLARK_NOTE = (
    "Counted with plain attention and one embedding table: the original's attention (Transformer-XL) has a fifth "
    "matrix, for relative positions, and half as many map FLOPs again; whether its output is tied is not told."
)
_CLARK_INFERRED = (
    " This size is not in the run table: its shape is inferred, as the only one like its neighbors' whose count, "
    "872,546,304, rounds to its name."
)
_MEGABLOCKS = "Gale et al. 2022 (arXiv:2211.15841), Tables 1 and 2"
_MEGABLOCKS_NOTE = (
    "The print's weights include biases and learned positions, which are not counted here; its GFLOPs are those of a "
    "training step of one sequence, 3 x forward{}."
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published architecture."""

    architecture: Architecture
    """The architecture."""
    source: str
    """Where it is described."""
    note: str | None = None
    """What is to be said of the print; None: nothing."""
    sequence_len: int | None = None
    """Tokens per sequence that its costs are published for; None: the same as for others of its kind."""


def _t5(
    *, d_model: int, d_ff: int, is_gated: bool, num_heads: int, layers: int, experts: int = 0, every: int = 2
) -> Architecture:
    """Give a T5 stack of equal encoder and decoder with tied embeddings; sparse ones route to one expert."""
    sparse = layers // every if experts else 0
    return Architecture(
        d_model=d_model,
        vocab_size=32128,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        d_head=64,
        d_ff=d_ff,
        is_gated=is_gated,
        decoder_layers=layers,
        encoder_layers=layers,
        sparse_layers=2 * sparse,
        sparse_encoder_layers=sparse,
        num_experts=experts,
        top_k=1 if experts else 0,
        expert_d_ff=d_ff if experts else 0,
        is_output_tied=True,
        position_tables=2,
    )


def _llama(*, d_model: int, d_ff: int, num_heads: int, num_kv_heads: int, layers: int, vocab_size: int) -> Architecture:
    """Give a dense decoder with heads of 128, gated feed-forward layers and an output projection of its own."""
    return Architecture(
        d_model=d_model,
        vocab_size=vocab_size,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        d_head=128,
        d_ff=d_ff,
        is_gated=True,
        decoder_layers=layers,
    )


def _clark(*, d_model: int, num_heads: int, d_head: int, layers: int, experts: int = 1, remark: str = "") -> Published:
    """Give a decoder of Clark et al.; several experts (S-Base) are in every other layer, and a token meets one."""
    shape = Architecture(
        d_model=d_model,
        vocab_size=32000,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        d_head=d_head,
        d_ff=4 * d_model,
        is_gated=False,
        decoder_layers=layers,
        is_output_tied=True,
    )
    sparse = replace(shape, sparse_layers=layers // 2, num_experts=experts, top_k=1, expert_d_ff=4 * d_model)
    architecture = sparse if experts > 1 else shape
    return Published(architecture=architecture, source=_CLARK, note=_CLARK_NOTE + remark, sequence_len=2048)


def _megablocks(*, d_model: int, layers: int, experts: int = 0, remark: str = "") -> Published:
    """Give a decoder of the MegaBlocks paper: GPT-2's, with experts in every layer or in none."""
    shape = Architecture(
        d_model=d_model,
        vocab_size=51200,
        num_heads=d_model // 64,
        num_kv_heads=d_model // 64,
        d_head=64,
        d_ff=4 * d_model,
        is_gated=False,
        is_gelu=True,
        decoder_layers=layers,
        is_output_tied=True,
    )
    sparse = replace(shape, sparse_layers=layers, num_experts=experts, top_k=1, expert_d_ff=4 * d_model)
    return Published(
        architecture=sparse if experts else shape,
        source=_MEGABLOCKS,
        note=_MEGABLOCKS_NOTE.format(", without the router" if experts else "") + remark,
        sequence_len=1024,
    )


_base = partial(_t5, d_model=768, d_ff=3072, is_gated=False, num_heads=12, layers=12)
_large = partial(_t5, d_model=1024, d_ff=4096, is_gated=False, num_heads=16, layers=24)
_xxl = partial(_t5, d_model=4096, d_ff=10240, is_gated=True, num_heads=64, layers=24)
_CLARK_SIZES = {
    "15m": partial(_clark, d_model=512, num_heads=8, d_head=32, layers=6),
    "25m": partial(_clark, d_model=512, num_heads=8, d_head=64, layers=8),
    "55m": partial(_clark, d_model=640, num_heads=12, d_head=64, layers=10),
    "130m": partial(_clark, d_model=896, num_heads=16, d_head=64, layers=12),
    "370m": partial(_clark, d_model=1536, num_heads=12, d_head=128, layers=12),
    "870m": partial(_clark, d_model=2048, num_heads=16, d_head=128, layers=16, remark=_CLARK_INFERRED),
    "1.3b": partial(_clark, d_model=2048, num_heads=16, d_head=128, layers=24),
}
_MEGABLOCKS_SIZES = {
    "xs": partial(_megablocks, d_model=512, layers=6),
    "small": partial(_megablocks, d_model=768, layers=12),
    "medium": partial(_megablocks, d_model=1024, layers=24),
}
_WIDER_HEADS = " The paper's heads are 64 wide; its scripts train {} of {}, which are as many weights and FLOPs."

PUBLISHED: dict[str, Published] = {
    "t5-base": Published(architecture=_base(), source="Raffel et al. 2020 (arXiv:1910.10683)"),
    "t5-large": Published(
        architecture=_large(),
        source="Raffel et al. 2020 (arXiv:1910.10683)",
        note="The Switch paper's Table 9 prints a gated layer of 2816; its parameters and FLOPs fit ReLU and 4096.",
    ),
    "t5-xxl": Published(architecture=_xxl(), source=_SWITCH),
    **{
        f"switch-base-{experts}": Published(architecture=_base(experts=experts), source=_SWITCH)
        for experts in (2, 4, 8, 16, 32, 64, 128, 256)
    },
    "switch-large-128": Published(
        architecture=_large(experts=128),
        source=_SWITCH,
        note="Table 9 prints a gated layer of 2816; its parameters and FLOPs fit ReLU and 4096.",
    ),
    "switch-xxl-128": Published(
        architecture=_xxl(experts=128),
        source=_SWITCH,
        note="Table 9 prints 64 experts, which make 201B weights; its 395B need 128.",
    ),
    "switch-c-2048": Published(
        architecture=_t5(d_model=2080, d_ff=6144, is_gated=False, num_heads=32, layers=15, experts=2048, every=1),
        source=_SWITCH,
        note="32 heads of 64 are 2048 wide, not 2080; the projections make up for it.",
    ),
    "mixtral-8x7b": Published(
        architecture=replace(
            _llama(d_model=4096, d_ff=0, num_heads=32, num_kv_heads=8, layers=32, vocab_size=32000),
            sparse_layers=32,
            num_experts=8,
            top_k=2,
            expert_d_ff=14336,
        ),
        source="Jiang et al. 2024 (arXiv:2401.04088)",
    ),
    "olmoe-1b-7b": Published(
        architecture=replace(
            _llama(d_model=2048, d_ff=0, num_heads=16, num_kv_heads=16, layers=16, vocab_size=50304),
            sparse_layers=16,
            num_experts=64,
            top_k=8,
            expert_d_ff=1024,
            qk_norm_scales=4096,
        ),
        source="Muennighoff et al. 2024 (arXiv:2409.02060)",
    ),
    "deepseekmoe-16b": Published(
        architecture=replace(
            _llama(d_model=2048, d_ff=10944, num_heads=16, num_kv_heads=16, layers=28, vocab_size=102400),
            sparse_layers=27,
            num_experts=64,
            top_k=6,
            expert_d_ff=1408,
            shared_d_ff=2816,
        ),
        source="Dai et al. 2024 (arXiv:2401.06066); the first layer is dense",
    ),
    "llama-2-7b": Published(
        architecture=_llama(d_model=4096, d_ff=11008, num_heads=32, num_kv_heads=32, layers=32, vocab_size=32000),
        source="Touvron et al. 2023 (arXiv:2307.09288)",
    ),
    "llama-3-8b": Published(
        architecture=_llama(d_model=4096, d_ff=14336, num_heads=32, num_kv_heads=8, layers=32, vocab_size=128256),
        source="Grattafiori et al. 2024 (arXiv:2407.21783)",
    ),
    **{f"clark-{size}": clark() for size, clark in _CLARK_SIZES.items()},
    **{
        f"clark-{size}-{experts}": clark(experts=experts)
        for size, clark in _CLARK_SIZES.items()
        for experts in (2, 4, 8, 16, 32, 64, 128, 256, 512)
    },
    **{f"megablocks-{size}": megablocks() for size, megablocks in _MEGABLOCKS_SIZES.items()},
    "megablocks-large": _megablocks(d_model=1536, layers=24, remark=_WIDER_HEADS.format(16, 96)),
    "megablocks-xl": _megablocks(d_model=2048, layers=24, remark=_WIDER_HEADS.format(16, 128)),
    **{f"megablocks-{size}-64": megablocks(experts=64) for size, megablocks in _MEGABLOCKS_SIZES.items()},
}
"""By name; the T5 and Switch models in their original parametrization, with tied embeddings.

Clark et al.'s 870M is not in their run table. Of shapes that have what the rungs around it have in common (heads of
128, together as wide as the model, a width in steps of 128 between theirs) 16 layers of 2048 alone make a count that
rounds to 870M; its entry says that it is inferred.
"""
