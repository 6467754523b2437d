"""Planning over devices, on paper: what a model takes on each, how many it needs, and what they send each other.

Two layouts, both with a share of the batch on every device (data parallelism):
  expert parallel  the routed experts of a layer are spread over the devices, at most one device per expert; everything
                   else is on every device;
  sharded          weights, gradients and optimizer state are cut into equal shares (as ZeRO does in its third stage).
Activations are of a device's own tokens and are not divided. Short-lived values and the buffers of the communication
are not counted.
"""

from dataclasses import dataclass
from fractions import Fraction

from switchbench.cost import Memory, parameters_of
from switchbench.spec import Architecture, Precision

ALL_TO_ALL_FORMULA = (
    "tokens per device x sparse layers x top_k x capacity_factor x d_model x bytes per value x 2 (there and back) x 2 "
    "(forward and backward) x (P-1)/P, with P = min(devices, experts)"
)
BYTES_PER_VALUE: dict[Precision, int] = {"float32": 4, "bfloat16": 2}
"""Of the token vectors that devices send each other."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A model laid out over a number of devices in one of the two ways; bytes are those of the fullest device."""

    num_devices: int | None
    """Devices: as many as asked for, else the fewest that fit; None: no number fits."""
    state_bytes: int | None
    """Weights, gradients and optimizer state; None: there is no number of devices."""
    activation_bytes: int
    """What the backward pass keeps, and what is held to the end of the step; where there is no number of
    devices, without copies of weights."""
    total_bytes: int | None
    """Both together; None: there is no number of devices."""
    fits: bool | None
    """Whether that fits a device; None: its memory is not given."""
    least_devices: int | None
    """Fewest devices that fit; None: no number does, or their memory is not given."""


@dataclass(frozen=True, kw_only=True)
class AllToAll:
    """What each device sends the others in a training step, with loads in balance."""

    sent_bytes: int
    """Bytes that one device sends."""
    formula: str
    """How they are counted."""
    with_numbers: str
    """The same with its numbers."""


@dataclass(frozen=True, kw_only=True)
class DevicePlan:
    """A model on devices."""

    num_devices: int | None
    """Devices that were asked for; None: the fewest that fit."""
    device_memory_bytes: int | None
    """Bytes of a device; None: not given."""
    replicated_bytes: int
    """State of what every device holds under expert parallelism: all but the routed experts."""
    expert_bytes: int
    """State of one routed expert of every sparse layer; 0 for a dense model."""
    experts_per_device: int | None
    """Routed experts of a layer on the fullest device; None: no number of devices fits."""
    expert_parallel: Layout
    """The first layout."""
    sharded: Layout
    """The second layout."""
    all_to_all: AllToAll | None
    """What experts on other devices make each device send; None: no number of devices fits."""


def plan_devices(
    architecture: Architecture,
    *,
    memory: Memory,
    num_devices: int | None,
    device_memory_bytes: int | None,
    source_tokens: int,
    target_tokens: int,
    capacity_factor: float | None,
    precision: Precision,
    recompute: bool,
) -> DevicePlan:
    """Lay a model out over devices.

    Args:
        architecture: The model.
        memory: What it takes on one device that has all of it.
        num_devices: Devices; None: the fewest that fit.
        device_memory_bytes: Bytes of a device; None: not asked.
        source_tokens: Tokens of a step that each device's encoder sees; 0 for a decoder-only model.
        target_tokens: Those that its decoder sees.
        capacity_factor: Slots that are sent over the assignments of tokens to experts; None: only the assignments.
        precision: Precision of the matmuls, and of what is sent.
        recompute: Whether blocks are computed again, and keep no copies of weights until then.
    """
    has_copies = precision != "float32" and not recompute
    parts = _parts_of(architecture, memory=memory, bytes_of_copy=BYTES_PER_VALUE[precision] if has_copies else 0)
    expert_parallel = _expert_parallel(parts, num_devices=num_devices, device_memory_bytes=device_memory_bytes)
    devices = expert_parallel.num_devices
    return DevicePlan(
        num_devices=num_devices,
        device_memory_bytes=device_memory_bytes,
        replicated_bytes=parts.replicated_state,
        expert_bytes=parts.expert_state,
        experts_per_device=None if devices is None else _held(parts.num_experts, devices),
        expert_parallel=expert_parallel,
        sharded=_sharded(parts, num_devices=num_devices, device_memory_bytes=device_memory_bytes),
        all_to_all=None
        if devices is None
        else all_to_all(
            architecture,
            num_devices=devices,
            source_tokens=source_tokens,
            target_tokens=target_tokens,
            capacity_factor=capacity_factor,
            precision=precision,
        ),
    )


def all_to_all(
    architecture: Architecture,
    *,
    num_devices: int,
    source_tokens: int,
    target_tokens: int,
    capacity_factor: float | None,
    precision: Precision,
) -> AllToAll:
    """Count what each device sends the others in a training step: ``ALL_TO_ALL_FORMULA``.

    Tokens are the encoder's for its sparse layers, the decoder's for its own.

    Args:
        architecture: The model.
        num_devices: Devices.
        source_tokens: Tokens of a step that each device's encoder sees.
        target_tokens: Those that its decoder sees.
        capacity_factor: Slots that are sent over the assignments; None: only the assignments.
        precision: What is sent is in.
    """
    a = architecture
    if not a.sparse_layers:
        return AllToAll(sent_bytes=0, formula=ALL_TO_ALL_FORMULA, with_numbers="0: there are no experts")
    spread = min(num_devices, a.num_experts)
    decoder_layers = a.sparse_layers - a.sparse_encoder_layers
    factor = 1 if capacity_factor is None else capacity_factor
    visits = source_tokens * a.sparse_encoder_layers + target_tokens * decoder_layers
    slots = visits * a.top_k * Fraction(repr(factor))
    width = BYTES_PER_VALUE[precision]
    sent = slots * a.d_model * width * 2 * 2 * Fraction(spread - 1, spread)
    decoder = f"{target_tokens} x {decoder_layers}"
    through = f"({source_tokens} x {a.sparse_encoder_layers} + {decoder})" if a.is_encoder_decoder else decoder
    return AllToAll(
        sent_bytes=round(sent),
        formula=ALL_TO_ALL_FORMULA,
        with_numbers=f"{through} x {a.top_k} x {factor:g} x {a.d_model} x {width} x 2 x 2 x {spread - 1}/{spread}",
    )


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The bytes of a model by what becomes of them on many devices."""

    num_experts: int
    """Routed experts of a layer."""
    replicated_state: int
    """State of all but the routed experts."""
    expert_state: int
    """State of one routed expert of every sparse layer."""
    replicated_copies: int
    """Copies of weights in the precision of the matmuls, of all but the routed experts."""
    expert_copies: int
    """Those of one routed expert of every sparse layer."""
    activations: int
    """What depends on a device's own tokens alone."""

    @property
    def state(self) -> int:
        """All state."""
        return self.replicated_state + self.num_experts * self.expert_state

    @property
    def copies(self) -> int:
        """All copies."""
        return self.replicated_copies + self.num_experts * self.expert_copies


def _parts_of(architecture: Architecture, *, memory: Memory, bytes_of_copy: int) -> _Parts:
    """Take memory apart; every weight has as many bytes of state, and every expert's as many of a copy."""
    a = architecture
    num_weights = parameters_of(a).total
    expert = a.sparse_layers * a.ffn_matrices * a.d_model * a.expert_d_ff
    state = memory.weights + memory.gradients + memory.optimizer
    copies = memory.activations.weight_copies
    expert_state = expert * (state // num_weights)
    expert_copies = expert * bytes_of_copy
    return _Parts(
        num_experts=a.num_experts,
        replicated_state=state - a.num_experts * expert_state,
        expert_state=expert_state,
        replicated_copies=copies - a.num_experts * expert_copies,
        expert_copies=expert_copies,
        activations=memory.activations.total - copies + memory.held,
    )


def _expert_parallel(parts: _Parts, *, num_devices: int | None, device_memory_bytes: int | None) -> Layout:
    fewest = None
    if device_memory_bytes is not None:
        room = device_memory_bytes - parts.replicated_state - parts.replicated_copies - parts.activations
        one_expert = parts.expert_state + parts.expert_copies
        if room >= 0 and not parts.num_experts:
            fewest = 1
        elif room >= one_expert:
            fewest = _share(parts.num_experts, min(room // one_expert, parts.num_experts))
    devices = num_devices or fewest
    if devices is None:
        return _nowhere(parts)
    held = _held(parts.num_experts, devices)
    return _layout(
        devices,
        state=parts.replicated_state + held * parts.expert_state,
        activations=parts.activations + parts.replicated_copies + held * parts.expert_copies,
        fewest=fewest,
        device_memory_bytes=device_memory_bytes,
    )


def _sharded(parts: _Parts, *, num_devices: int | None, device_memory_bytes: int | None) -> Layout:
    fewest = None
    if device_memory_bytes is not None and device_memory_bytes > parts.activations:
        fewest = _share(parts.state + parts.copies, device_memory_bytes - parts.activations)
    devices = num_devices or fewest
    if devices is None:
        return _nowhere(parts)
    state = _share(parts.state, devices)
    return _layout(
        devices,
        state=state,
        activations=parts.activations + _share(parts.state + parts.copies, devices) - state,
        fewest=fewest,
        device_memory_bytes=device_memory_bytes,
    )


def _layout(
    num_devices: int, *, state: int, activations: int, fewest: int | None, device_memory_bytes: int | None
) -> Layout:
    total = state + activations
    return Layout(
        num_devices=num_devices,
        state_bytes=state,
        activation_bytes=activations,
        total_bytes=total,
        fits=None if device_memory_bytes is None else total <= device_memory_bytes,
        least_devices=fewest,
    )


def _nowhere(parts: _Parts) -> Layout:
    return Layout(
        num_devices=None,
        state_bytes=None,
        activation_bytes=parts.activations,
        total_bytes=None,
        fits=False,
        least_devices=None,
    )


def _held(num_experts: int, num_devices: int) -> int:
    """Give the routed experts of a layer on the fullest device; of more devices than experts, some hold the same."""
    return _share(num_experts, min(num_devices, num_experts)) if num_experts else 0


def _share(whole: int, parts: int) -> int:
    """Give the largest of equal shares, rounded up; in integers, since these are beyond what a float holds."""
    return -(-whole // parts)
