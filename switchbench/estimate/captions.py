"""What the numbers mean, in sentences under the tables."""

from collections.abc import Callable, Sequence

from switchbench import units
from switchbench.estimate.costs import Estimate
from switchbench.estimate.devices import ALL_TO_ALL_FORMULA, DevicePlan

_MOST_NAMES = 3
"""Models that a sentence names; of more it says how many."""


def flops_caption(estimates: Sequence[Estimate]) -> str:
    """Say by which convention FLOPs are counted.

    Args:
        estimates: The estimates; at least one.
    """
    if estimates[0].convention == "paper":
        return (
            "FLOPs by the paper's convention, as in the Switch Transformer's Table 9: 2 per multiply-add, all of the "
            "decoder per target token, router and padding left out; training is three times forward."
        )
    caption = (
        "FLOPs by our convention: 2 per multiply-add, useful ones (nothing dropped, no padding), router in, attention "
        "over all positions; training is three times forward"
    )
    return f"{caption}, without what is computed again." if estimates[0].recompute else f"{caption}."


def sequence_caption(estimates: Sequence[Estimate]) -> str:
    """Say how long a sequence is.

    Args:
        estimates: The estimates; at least one.
    """
    return f"A sequence has {_by_value(estimates, _sequence_text)}."


def memory_caption(estimates: Sequence[Estimate]) -> str:
    """Say what memory consists of, and how many tokens it is for.

    Args:
        estimates: The estimates; at least one.
    """
    if all(each.batch_tokens == each.subject.sequence_tokens for each in estimates):
        step = "one sequence"
    else:
        step = _by_value(estimates, lambda each: f"{each.batch_tokens} tokens")
    precision = _by_value(estimates, lambda each: each.precision)
    copies = " (copies of the weights among it)" if any(each.precision != "float32" for each in estimates) else ""
    again = ", with every block computed again in the backward pass" if estimates[0].recompute else ""
    return (
        f"Memory: the peak of a training step of {step} in {precision} on one device; weights, gradients and AdamW's "
        f"moments are float32, activations are what the backward pass keeps{copies}{again}."
    )


def breakdown_caption(estimates: Sequence[Estimate]) -> str:
    """Say what provisioned FLOPs are, and how the parts of memory go together.

    Args:
        estimates: The estimates; at least one.
    """
    provisioned = (
        "Provisioned: all slots that the capacity factor gives the experts are computed, filled or not; the most that "
        "is ever executed"
    )
    if any(each.provisioned_forward_flops_per_token is None for each in estimates):
        provisioned += f"; {units.UNKNOWN} where no capacity factor is known, or by the paper's convention"
    return f"{provisioned}. The peak is that of the largest moment of a step, not the sum."


def device_captions(estimates: Sequence[Estimate]) -> list[str]:
    """Say how models are laid out over devices, what the all-to-all is, and which models fit no number of devices.

    Args:
        estimates: The estimates; at least one.
    """
    captions = [
        "State is weights, gradients and optimizer state. Expert parallel: the experts of a layer are spread over the "
        "devices, at most one device per expert, and all else is on each. Sharded: all state is cut into equal shares, "
        "as ZeRO does. Activations are those of a device's own tokens. Short-lived values and the communication's "
        "buffers are not counted."
    ]
    if any(each.subject.architecture.sparse_layers for each in estimates):
        captions.append(
            f"All-to-all: each device sends {ALL_TO_ALL_FORMULA}. Loads are taken to be in balance, and "
            "capacity_factor to be 1 where none is known. Source tokens meet the encoder's layers, target tokens the "
            "decoder's."
        )
    for each in estimates:
        plan = each.devices
        if plan is not None and plan.device_memory_bytes is not None and plan.expert_parallel.least_devices is None:
            captions.append(f"{each.subject.name}: {_no_number_fits(plan)}")
    return captions


def note_captions(estimates: Sequence[Estimate]) -> list[str]:
    """Give what is to be said of single models; where the same is to be said of several, once.

    Args:
        estimates: The estimates.
    """
    names: dict[str, list[str]] = {}
    for each in estimates:
        if each.subject.note:
            names.setdefault(each.subject.note, []).append(each.subject.name)
    return [f"{', '.join(dict.fromkeys(of))}: {note}" for note, of in names.items()]


def _no_number_fits(plan: DevicePlan) -> str:
    activations = units.size(plan.expert_parallel.activation_bytes)
    start = f"does not fit devices of {units.size(plan.device_memory_bytes)}, whatever their number"
    if plan.sharded.least_devices is None:
        return (
            f"{start}: the activations alone take {activations} on each. It needs fewer tokens a step on each device."
        )
    held = f"{units.size(plan.replicated_bytes)} of state are replicated on each, beside {activations} of activations"
    expert = f", and one expert of each layer takes {units.size(plan.expert_bytes)}" if plan.expert_bytes else ""
    return (
        f"{start}: {held}{expert}. It needs model parallelism or a sharded optimizer; sharded, it fits "
        f"{plan.sharded.least_devices} devices or more."
    )


def _sequence_text(estimate: Estimate) -> str:
    subject = estimate.subject
    if subject.source_len:
        return f"{subject.source_len} source and {subject.target_len} target tokens"
    return f"{subject.target_len} tokens"


def _by_value(estimates: Sequence[Estimate], text_of: Callable[[Estimate], str]) -> str:
    """Give the one text of all models, or each text with the models that it is of."""
    names: dict[str, dict[str, None]] = {}
    for each in estimates:
        subject = each.subject
        of = names.setdefault(text_of(each), {})
        of[subject.name if subject.sweep is None else f"sweep {subject.sweep}"] = None
    if len(names) == 1:
        return next(iter(names))
    return "; ".join(f"{text} ({_some(list(of))})" for text, of in names.items())


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"
