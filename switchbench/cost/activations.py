"""Bytes that the backward pass keeps of a forward pass, per component: those of our own implementation, to the last.

Axes: T tokens, D width, F hidden width, H heads, K width of a head, V vocabulary, E experts, N kept assignments of
tokens to experts. w is the width of a matmul's numbers (4 bytes, or 2 in bfloat16), m that of attention's (on a CPU
always 4), r that of a router's (2 where it is told to be in bfloat16 too); the residual stream, norms and the loss are
float32.

  residual   nothing: a sum needs no input back; where blocks are recomputed, their inputs, 4·T·D each
  norm       normalized values and inverse rms, 4·T·(D + 1), and what the next matmul is fed, w·T·D
  attention  queries, keys and values as they leave their matmul (values are a part of that), and as they enter
             attention, normalized and rotated; the inverse rms of each head; the result, and the logsumexp of each
             query and head. No map of S·S: that is never kept
  dense_ffn  ReLU: its result, w·T·F; GELU: its input too; gated: hidden values, gate, activated gate, their product
  experts    the same for N rows, without the activated gate where experts are computed in a loop; dropout masks
  router     logits and probabilities, 2·r·T·E; logsumexp; choices; a float32 copy of a bfloat16 input; jitter
  dispatch   answers of the experts, w·N·D; gates; places of the sorted tokens; all slots where it pads
  logits     log-probabilities, 4·T·V
  weight_copies  bfloat16 copies of the weights that matmuls meet; they live as long as the activations do

Scalars are left out. Encoder-decoder models and grouped queries, which our own models have not, follow the same rules.
"""

from dataclasses import dataclass, fields
from typing import Literal

from switchbench.spec import Architecture, Backend, Precision
from switchbench.spec.ffn import Router

DeviceKind = Literal["cpu", "cuda"]

WIDE = 4
"""Bytes of a float32."""
INDEX = 8
"""Bytes of an index."""


@dataclass(frozen=True, kw_only=True)
class Activations:
    """Bytes that the backward pass keeps, per component; see the module's docstring."""

    residual: int = 0
    """Inputs of blocks that are recomputed."""
    norm: int = 0
    """Norms, and their results."""
    attention: int = 0
    """Attention, between its norm and its sum."""
    dense_ffn: int = 0
    """Hidden values of dense layers."""
    experts: int = 0
    """Hidden values of experts, shared ones included."""
    router: int = 0
    """Routers."""
    dispatch: int = 0
    """What moves tokens to their experts and back."""
    logits: int = 0
    """Log-probabilities of the loss."""
    weight_copies: int = 0
    """Weights in the precision of the matmuls, where that is not float32."""

    @property
    def total(self) -> int:
        """All components."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __add__(self, other: "Activations") -> "Activations":
        return Activations(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How a step is computed, as far as its memory depends on that."""

    precision: Precision
    """Of the matmuls."""
    device: DeviceKind
    """Where."""
    backend: Backend
    """What computes the experts."""
    router: Router
    """How tokens and experts find each other."""
    router_precision: Precision = "float32"
    """Of routers, where matmuls are in bfloat16."""
    normalizes_gates: bool = False
    """Whether a token's gates are made to sum to 1."""
    has_jitter: bool = False
    """Whether the router's input is multiplied by noise."""
    has_dropout: bool = False
    """Whether hidden values of routed experts are dropped."""
    num_groups: int = 1
    """Routing groups of a batch."""
    num_slots: int = 0
    """Slots of all experts and groups."""

    @property
    def width(self) -> int:
        """Bytes of a matmul's number, w."""
        return 2 if self.precision == "bfloat16" else WIDE

    @property
    def router_width(self) -> int:
        """Bytes of a router's number, r."""
        return self.width if self.router_precision == "bfloat16" else WIDE

    @property
    def map_width(self) -> int:
        """Bytes of a number in attention, m: on a CPU it is done in float32."""
        return WIDE if self.device == "cpu" else self.width

    def copies(self, num_weights: int) -> Activations:
        """Copies of the weights of matmuls, in their precision."""
        return Activations(weight_copies=num_weights * self.width if self.width < WIDE else 0)


def norm_activations(conditions: Conditions, *, tokens: int, d_model: int, is_result_kept: bool = True) -> Activations:
    """Count what a norm keeps.

    Args:
        conditions: How it is computed.
        tokens: Tokens, T.
        d_model: Width, D.
        is_result_kept: Whether what comes after it needs its result in the backward pass.
    """
    result = tokens * d_model * conditions.width if is_result_kept else 0
    return Activations(norm=tokens * WIDE * (d_model + 1) + result)


def attention_activations(
    architecture: Architecture, conditions: Conditions, *, queries: int, keys: int
) -> Activations:
    """Count what one attention keeps, between its norm and its sum.

    Args:
        architecture: Heads and their width; models without tables of relative positions rotate queries and keys.
        conditions: How it is computed.
        queries: Tokens that ask.
        keys: Tokens that are asked.
    """
    a, width, map_width = architecture, conditions.width, conditions.map_width
    query_heads, key_heads = queries * a.num_heads, keys * a.num_kv_heads
    turned = (query_heads + key_heads) * a.d_head
    projected = turned + key_heads * a.d_head
    kept = query_heads * WIDE  # logsumexp
    if map_width > width:
        kept += projected * map_width + query_heads * a.d_head * (map_width + width)
    else:
        has_copies = a.position_tables == 0 or a.qk_norm_scales > 0
        kept += projected * width + (turned * width if has_copies else 0) + query_heads * a.d_head * width
    if a.qk_norm_scales:
        # On a GPU the norm keeps its input; in float32 that is what the matmul has left, and kept already.
        is_input_kept = conditions.device == "cuda" and width == WIDE
        kept += WIDE * (query_heads + key_heads + (0 if is_input_kept else turned))
    return Activations(attention=kept) + conditions.copies(attention_weights(a))


def ffn_activations(architecture: Architecture, conditions: Conditions, *, tokens: int, d_ff: int) -> Activations:
    """Count what a dense feed-forward layer keeps, between its norm and its sum.

    Args:
        architecture: Width and activation.
        conditions: How it is computed.
        tokens: Tokens, T.
        d_ff: Hidden width, F.
    """
    a = architecture
    hidden = tokens * d_ff * conditions.width * _hidden_values(a, is_loop=False)
    return Activations(dense_ffn=hidden) + conditions.copies(a.ffn_matrices * a.d_model * d_ff)


def sparse_activations(architecture: Architecture, conditions: Conditions, *, tokens: int, kept: int) -> Activations:
    """Count what a router and its experts keep, between their norm and their sum; not what shared experts keep.

    Nor the copies of the router's weights: see ``router_copies``.

    Args:
        architecture: Experts.
        conditions: How it is computed.
        tokens: Tokens, T.
        kept: Kept assignments, N.
    """
    a, width = architecture, conditions.width
    is_loop = conditions.backend == "loop"
    rows = max(conditions.num_slots, a.num_experts) if conditions.backend == "padded" else kept
    hidden = rows * a.expert_d_ff * width * (_hidden_values(a, is_loop=is_loop) + _dropout_values(a, conditions))
    return Activations(
        experts=hidden,
        router=_router_bytes(a, conditions, tokens=tokens),
        dispatch=_dispatch_bytes(a, conditions, kept=kept, rows=rows),
    ) + conditions.copies(a.num_experts * a.ffn_matrices * a.d_model * a.expert_d_ff)


def router_copies(architecture: Architecture, conditions: Conditions) -> Activations:
    """Copies of the router's weights, where it does not compute in float32.

    Args:
        architecture: Experts.
        conditions: How it is computed.
    """
    is_copied = conditions.router != "hash" and conditions.router_width < WIDE
    return conditions.copies(architecture.d_model * architecture.num_experts if is_copied else 0)


def keeps_its_input(architecture: Architecture, conditions: Conditions) -> bool:
    """Whether a sparse layer keeps what its norm gives: not where all that it keeps of that is copies.

    Args:
        architecture: Experts.
        conditions: How it is computed.
    """
    has_router_copy = conditions.width < conditions.router_width or conditions.has_jitter
    is_kept_by_router = conditions.router != "hash" and not has_router_copy
    return conditions.backend == "loop" or architecture.shared_d_ff > 0 or is_kept_by_router


def logits_activations(architecture: Architecture, conditions: Conditions, *, tokens: int) -> Activations:
    """Count what the output projection and the loss keep; the projection's input is the last norm's.

    Args:
        architecture: Width and vocabulary.
        conditions: How it is computed.
        tokens: Tokens, T.
    """
    a = architecture
    return Activations(logits=tokens * a.vocab_size * WIDE) + conditions.copies(a.vocab_size * a.d_model)


def attention_weights(architecture: Architecture) -> int:
    """Weights of one attention's matmuls."""
    a = architecture
    return a.d_model * a.d_head * (2 * a.num_heads + 2 * a.num_kv_heads)


def _hidden_values(a: Architecture, *, is_loop: bool) -> int:
    """Kept numbers per hidden value."""
    if a.is_gated:
        return 3 if is_loop else 4
    return 2 if a.is_gelu else 1


def _dropout_values(a: Architecture, conditions: Conditions) -> int:
    """The mask; where it is not multiplied in place, the masked values too."""
    if not conditions.has_dropout:
        return 0
    return 1 if conditions.backend == "loop" else (1 if a.is_gelu or a.is_gated else 2)


def _router_bytes(a: Architecture, conditions: Conditions, *, tokens: int) -> int:
    if conditions.router == "hash":
        return 0
    width = conditions.router_width
    has_copy = conditions.width < width
    inputs = 2 if conditions.has_jitter else (1 if has_copy else 0)  # with jitter: the noise and the product
    kept = tokens * width * (inputs * a.d_model + 2 * a.num_experts + 1)
    kept += conditions.num_groups * a.num_experts * WIDE  # the loads of the auxiliary loss
    if conditions.router != "expert_choice":
        kept += tokens * a.top_k * INDEX
    if conditions.normalizes_gates:
        kept += tokens * (a.top_k + 1) * width
    return kept


def _dispatch_bytes(a: Architecture, conditions: Conditions, *, kept: int, rows: int) -> int:
    width, is_loop = conditions.width, conditions.backend == "loop"
    has_places_of_its_own = a.top_k > 1 or conditions.router == "expert_choice"
    places = kept * INDEX * (2 if has_places_of_its_own else 1)
    # The loop keeps gates and answers in any case. Where autograd chooses, gates are kept in the answers' precision,
    # and answers not at all beside gates that have no gradient.
    gates = kept * (conditions.router_width if is_loop else width)
    answers = kept * a.d_model * width if is_loop or conditions.router != "hash" else 0
    match conditions.backend:
        case "loop":
            inputs = 0
        case "grouped_mm":
            inputs = kept * a.d_model * width + a.num_experts * WIDE  # with the end of each expert's rows
        case "padded":
            inputs = rows * a.d_model * width + kept * INDEX  # with the slot of each row
    return places + gates + answers + inputs
