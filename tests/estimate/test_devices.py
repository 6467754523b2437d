"""Planning over devices, against hand computation and against a twin that places experts one by one."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.cost import memory_of, parameters_of
from switchbench.estimate.devices import DevicePlan, all_to_all, plan_devices
from switchbench.published import PUBLISHED
from switchbench.spec import Architecture, Precision

GIB = 2**30
STATE = 4 + 4 + 8  # bytes of a float32 weight, its gradient and AdamW's moments


def plan(
    architecture: Architecture,
    *,
    num_devices: int | None = None,
    device_memory_bytes: int | None = None,
    sequences: int = 1,
    lengths: tuple[int, int] = (0, 16),
    precision: Precision = "float32",
    recompute: bool = False,
) -> DevicePlan:
    source_len, target_len = lengths
    memory = memory_of(
        architecture,
        sequences=sequences,
        source_len=source_len,
        target_len=target_len,
        precision=precision,
        recompute=recompute,
    )
    return plan_devices(
        architecture,
        memory=memory,
        num_devices=num_devices,
        device_memory_bytes=device_memory_bytes,
        source_tokens=sequences * source_len,
        target_tokens=sequences * target_len,
        capacity_factor=None,
        precision=precision,
        recompute=recompute,
    )


def test_switch_c_on_2048_devices_by_hand() -> None:
    """Every device has one of the 2048 experts of each of the 30 layers, each of two matrices of 2080 x 6144."""
    planned = plan(PUBLISHED["switch-c-2048"].architecture, num_devices=2048, lengths=(512, 114))
    expert = 30 * 2 * 2080 * 6144
    rest = 1_571_308_972_448 - 2048 * expert
    assert (planned.experts_per_device, planned.expert_bytes) == (1, STATE * expert)
    assert planned.replicated_bytes == STATE * rest
    assert planned.expert_parallel.state_bytes == STATE * (rest + expert)
    assert planned.sharded.state_bytes == -(-STATE * 1_571_308_972_448 // 2048)
    # 626 tokens through 15 layers of their stack, vectors of 2080 floats, there and back, forward and backward; one in
    # 2048 stays where it is. Half a byte is left over.
    assert planned.all_to_all is not None
    assert planned.all_to_all.sent_bytes == 626 * 15 * 2080 * 4 * 2 * 2 * 2047 // 2048
    assert planned.all_to_all.with_numbers == "(512 x 15 + 114 x 15) x 1 x 1 x 2080 x 4 x 2 x 2 x 2047/2048"


def test_switch_xxl_by_hand() -> None:
    """24 sparse layers of 128 gated experts; what is replicated alone is more than 80 GiB."""
    planned = plan(PUBLISHED["switch-xxl-128"].architecture, device_memory_bytes=80 * GIB, lengths=(512, 114))
    ffn = 3 * 4096 * 10240
    attention = 24 * (4 * 4096**2 + 2 * 4096) + 24 * (8 * 4096**2 + 3 * 4096)
    rest = 32128 * 4096 + attention + 24 * ffn + 24 * 4096 * 128 + 2 * 4096 + 2 * 32 * 64
    assert planned.replicated_bytes == STATE * rest > 80 * GIB
    assert planned.expert_bytes == STATE * 24 * ffn
    layout = planned.expert_parallel
    assert (layout.num_devices, layout.state_bytes, layout.fits, layout.least_devices) == (None, None, False, None)
    assert planned.all_to_all is None
    total = STATE * (rest + 128 * 24 * ffn)
    assert planned.sharded.least_devices == -(-total // (80 * GIB - layout.activation_bytes))


def test_mixtral_by_hand() -> None:
    """Two of eight experts per token; 32 layers of gated experts of 4096 x 14336."""
    mixtral = PUBLISHED["mixtral-8x7b"].architecture
    planned = plan(mixtral, num_devices=4, device_memory_bytes=256 * GIB, lengths=(0, 2048), sequences=2)
    expert = 32 * 3 * 4096 * 14336
    assert planned.experts_per_device == 2
    assert planned.expert_parallel.state_bytes == STATE * (46_702_792_704 - 8 * expert + 2 * expert)
    assert planned.all_to_all is not None
    assert planned.all_to_all.sent_bytes == 4096 * 32 * 2 * 4096 * 4 * 2 * 2 * 3 // 4
    # 24 GiB replicated, 84 GiB per expert, 63 GiB of activations: 256 GiB hold two experts, and four devices all eight.
    assert (planned.expert_parallel.fits, planned.expert_parallel.least_devices) == (True, 4)


architectures = st.builds(
    lambda encoder, decoder, experts, top_k, **rest: Architecture(
        encoder_layers=encoder,
        decoder_layers=decoder,
        sparse_layers=decoder + encoder,
        sparse_encoder_layers=encoder,
        num_experts=experts,
        top_k=min(top_k, experts),
        num_kv_heads=rest["num_heads"],
        **rest,
    ),
    encoder=st.integers(0, 2),
    decoder=st.integers(1, 3),
    experts=st.integers(1, 12),
    top_k=st.integers(1, 3),
    d_model=st.integers(1, 8),
    vocab_size=st.integers(2, 40),
    num_heads=st.integers(1, 2),
    d_head=st.sampled_from([2, 4]),
    d_ff=st.integers(1, 9),
    expert_d_ff=st.integers(1, 9),
    shared_d_ff=st.integers(0, 5),
    is_gated=st.booleans(),
    is_output_tied=st.booleans(),
)


def fullest_device(architecture: Architecture, *, num_devices: int, bytes_of_expert: int) -> int:
    """Deal the experts of a layer out, one after the other, and weigh the fullest device's."""
    spread = min(num_devices, architecture.num_experts)
    held = [0] * num_devices
    for expert in range(architecture.num_experts):
        held[expert % spread] += bytes_of_expert
    return max(held)


@settings(deadline=None, max_examples=60)
@given(
    architecture=architectures,
    num_devices=st.integers(1, 30),
    precision=st.sampled_from(["float32", "bfloat16"]),
    recompute=st.booleans(),
)
def test_experts_are_dealt_out(
    architecture: Architecture, num_devices: int, precision: Precision, recompute: bool
) -> None:
    a, lengths = architecture, (16 if architecture.encoder_layers else 0, 16)
    planned = plan(a, num_devices=num_devices, lengths=lengths, precision=precision, recompute=recompute)
    total = parameters_of(a).total
    expert = a.sparse_layers * a.ffn_matrices * a.d_model * a.expert_d_ff
    held = fullest_device(a, num_devices=num_devices, bytes_of_expert=STATE * expert)
    layout = planned.expert_parallel
    assert layout.state_bytes == STATE * (total - a.num_experts * expert) + held
    assert num_devices * layout.state_bytes >= STATE * total
    assert planned.sharded.state_bytes is not None
    assert STATE * total <= num_devices * planned.sharded.state_bytes < STATE * total + num_devices
    assert layout.total_bytes == layout.state_bytes + layout.activation_bytes
    # One device has it all: what it keeps is what a step of the whole model keeps.
    alone = plan(a, num_devices=1, lengths=lengths, precision=precision, recompute=recompute)
    memory = memory_of(
        a, sequences=1, source_len=lengths[0], target_len=lengths[1], precision=precision, recompute=recompute
    )
    assert alone.expert_parallel.activation_bytes == memory.activations.total + memory.held
    assert alone.expert_parallel.total_bytes == alone.sharded.total_bytes
    assert layout.activation_bytes <= alone.expert_parallel.activation_bytes


@settings(deadline=None, max_examples=60)
@given(architecture=architectures, memory_kib=st.integers(1, 400), precision=st.sampled_from(["float32", "bfloat16"]))
def test_the_fewest_devices_are_those_that_counting_up_finds(
    architecture: Architecture, memory_kib: int, precision: Precision
) -> None:
    memory = memory_kib * 1024
    lengths = (16 if architecture.encoder_layers else 0, 16)
    asked = plan(architecture, device_memory_bytes=memory, lengths=lengths, precision=precision)

    def at(num_devices: int) -> DevicePlan:
        return plan(
            architecture, num_devices=num_devices, device_memory_bytes=memory, lengths=lengths, precision=precision
        )

    # More devices than experts leave nothing else to divide.
    found = [n for n in range(1, architecture.num_experts + 1) if at(n).expert_parallel.fits]
    assert asked.expert_parallel.least_devices == (found[0] if found else None)
    assert asked.expert_parallel.fits is bool(found)
    assert at(1000).expert_parallel.fits is bool(found)
    if asked.sharded.least_devices is None:
        assert asked.sharded.activation_bytes >= memory
    else:
        first = next(n for n in count(max(asked.sharded.least_devices - 3, 1)) if at(n).sharded.fits)
        assert first == asked.sharded.least_devices


@settings(deadline=None, max_examples=40)
@given(architecture=architectures, num_devices=st.integers(1, 20), capacity_factor=st.sampled_from([None, 1.0, 1.25]))
def test_all_to_all_is_what_each_token_takes_along(
    architecture: Architecture, num_devices: int, capacity_factor: float | None
) -> None:
    a, sent = architecture, 0.0
    spread = min(num_devices, a.num_experts)
    for tokens, layers in ((8, a.sparse_encoder_layers), (20, a.sparse_layers - a.sparse_encoder_layers)):
        for _layer in range(layers):
            for _pass in ("forward", "backward"):
                for _way in ("there", "back"):
                    away = tokens * a.top_k * (capacity_factor or 1) * (spread - 1) / spread
                    sent += away * a.d_model * 2
    counted = all_to_all(
        a,
        num_devices=num_devices,
        source_tokens=8,
        target_tokens=20,
        capacity_factor=capacity_factor,
        precision="bfloat16",
    )
    assert counted.sent_bytes == pytest.approx(sent, abs=0.5001)
    assert (counted.sent_bytes == 0) == (spread == 1)
    numbers = counted.with_numbers.replace("x", "*")
    assert eval(numbers) == pytest.approx(sent)  # what is printed can be typed into a calculator


def test_dense_models_send_nothing_and_are_on_every_device() -> None:
    planned = plan(PUBLISHED["t5-base"].architecture, num_devices=8, device_memory_bytes=GIB, lengths=(512, 114))
    assert planned.all_to_all is not None
    assert planned.all_to_all.sent_bytes == 0
    assert planned.experts_per_device == 0
    assert planned.expert_parallel.state_bytes == planned.replicated_bytes == STATE * 222_903_552
    assert planned.expert_parallel.least_devices is None


def test_activations_too_large_for_any_number_of_devices() -> None:
    planned = plan(PUBLISHED["t5-base"].architecture, device_memory_bytes=GIB // 64, lengths=(512, 114))
    assert planned.sharded.least_devices is None
    assert planned.sharded.activation_bytes > GIB // 64
