"""The functional forms: what loss is expected of N parameters, E experts and D tokens.

N counts the matmul parameters that one token meets, D the training tokens; loss is in nats per token. Every form
evaluates many fits at once: ``internal`` is (fits, parameters), the answer (fits, rows). Internal parameters and their
bounds are those of ``parameters.py``; a form gives them as they stand in its formula and back. A new form is one class
here, its name in ``LawName`` and an arm in ``form_named``.
"""

from dataclasses import dataclass
from typing import ClassVar, assert_never

import numpy as np

from switchbench.laws.experts import expert_gain, internal_shape, log_e_of_one, natural_shape, with_expert_formula
from switchbench.laws.law import Law, LawName
from switchbench.laws.parameters import SATURATION, Parameter, coefficient, exponent, floor_of_loss, slope, sum_of_terms
from switchbench.laws.points import Center, Floats, Points

LN10 = float(np.log(10.0))
_A = coefficient("A", unit="nats per token · parameters^alpha")
_B = coefficient("B", unit="nats per token · tokens^beta")


@dataclass(frozen=True, kw_only=True)
class Power:
    """``L = (N_c/N)^alpha``: dense models with nothing else in the way.

    Source:
        Kaplan et al. 2020 (2001.08361), eq. (1.1).
    """

    name: ClassVar[LawName] = "power"
    formula: ClassVar[str] = "L = (N_c/N)^alpha"
    source: ClassVar[str] = "Kaplan et al. 2020, arXiv:2001.08361, eq. (1.1)"
    uses_experts: ClassVar[bool] = False
    uses_tokens: ClassVar[bool] = False
    parameters: ClassVar[tuple[Parameter, ...]] = (coefficient("N_c", unit="parameters"), exponent("alpha"))

    def evaluate(self, internal: Floats, points: Points) -> tuple[Floats, Floats]:
        """Give ln L and its Jacobian."""
        log_size, log_alpha = (internal[:, i, None] for i in range(2))
        falls = -np.exp(log_alpha) * points.x
        return sum_of_terms([log_size + falls], [{0: np.ones_like(falls), 1: falls}], num_parameters=2)

    def natural(self, internal: Floats, center: Center) -> Floats:
        """Give N_c and alpha."""
        alpha = np.exp(internal[:, 1])
        with np.errstate(over="ignore"):  # with alpha near its bound, N_c has no end
            return np.stack([np.exp(internal[:, 0] / alpha + center.log_n), alpha], axis=1)

    def internal(self, natural: Floats, center: Center) -> Floats:
        """Give the internal parameters."""
        n_c, alpha = natural.T
        return np.stack([alpha * (np.log(n_c) - center.log_n), np.log(alpha)], axis=1)


@dataclass(frozen=True, kw_only=True)
class Chinchilla:
    """``L = E + A/N^alpha + B/D^beta``: dense models of any size on any number of tokens.

    Source:
        Hoffmann et al. 2022 (2203.15556), eq. (2).
    """

    name: ClassVar[LawName] = "chinchilla"
    formula: ClassVar[str] = "L = E + A/N^alpha + B/D^beta"
    source: ClassVar[str] = "Hoffmann et al. 2022, arXiv:2203.15556, eq. (2)"
    uses_experts: ClassVar[bool] = False
    uses_tokens: ClassVar[bool] = True
    parameters: ClassVar[tuple[Parameter, ...]] = (
        floor_of_loss("E"),
        _A,
        _B,
        exponent("alpha"),
        exponent("beta"),
    )

    def evaluate(self, internal: Floats, points: Points) -> tuple[Floats, Floats]:
        """Give ln L and its Jacobian."""
        log_floor, log_a, log_b, log_alpha, log_beta = (internal[:, i, None] for i in range(5))
        by_size, by_data = -np.exp(log_alpha) * points.x, -np.exp(log_beta) * points.y
        one = np.ones_like(by_size)
        return sum_of_terms(
            [log_floor * one, log_a + by_size, log_b + by_data],
            [{0: one}, {1: one, 3: by_size}, {2: one, 4: by_data}],
            num_parameters=5,
        )

    def natural(self, internal: Floats, center: Center) -> Floats:
        """Give E, A, B, alpha and beta."""
        alpha, beta = np.exp(internal[:, 3]), np.exp(internal[:, 4])
        log_a, log_b = internal[:, 1] + alpha * center.log_n, internal[:, 2] + beta * center.log_d
        return np.stack([np.exp(internal[:, 0]), np.exp(log_a), np.exp(log_b), alpha, beta], axis=1)

    def internal(self, natural: Floats, center: Center) -> Floats:
        """Give the internal parameters."""
        floor, a, b, alpha, beta = natural.T
        log_a, log_b = np.log(a) - alpha * center.log_n, np.log(b) - beta * center.log_d
        return np.stack([np.log(floor), log_a, log_b, np.log(alpha), np.log(beta)], axis=1)


@dataclass(frozen=True, kw_only=True)
class Routed:
    """``L = E0 + A·(N·(Ê/Ê(1))^g)^-alpha``: dense and sparse models jointly, after the same number of tokens.

    A is the dense law's, and N_eff/N = (Ê/Ê(1))^g.
    """

    saturating: bool = True
    """Whether Ê saturates; else Ê = E, and there is no E_start and no E_max."""
    name: ClassVar[LawName] = "routed"
    source: ClassVar[str] = "switchbench; Ê of Clark et al. 2022, arXiv:2202.01169, eq. (10)"
    uses_experts: ClassVar[bool] = True
    uses_tokens: ClassVar[bool] = False

    @property
    def formula(self) -> str:
        """The formula."""
        return with_expert_formula("L = E0 + A·(N·(Ê/Ê(1))^g)^-alpha", saturating=self.saturating)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """E0, A, alpha, g, and those of Ê."""
        return (floor_of_loss("E0"), _A, exponent("alpha"), slope("g"), *(SATURATION if self.saturating else ()))

    def evaluate(self, internal: Floats, points: Points) -> tuple[Floats, Floats]:
        """Give ln L and its Jacobian."""
        log_floor, log_a, log_alpha, g = (internal[:, i, None] for i in range(4))
        alpha, gain = np.exp(log_alpha), expert_gain(points, internal[:, 4:])
        by_size = -alpha * (points.x + g * gain.h)
        one = np.ones_like(by_size)
        by_shape = {4 + i: -alpha * g * each for i, each in enumerate(gain.by_shape)}
        return sum_of_terms(
            [log_floor * one, log_a + by_size],
            [{0: one}, {1: one, 2: by_size, 3: -alpha * gain.h} | by_shape],
            num_parameters=internal.shape[1],
        )

    def natural(self, internal: Floats, center: Center) -> Floats:
        """Give E0, A, alpha, g, E_start and E_max."""
        alpha = np.exp(internal[:, 2])
        first = [np.exp(internal[:, 0]), np.exp(internal[:, 1] + alpha * center.log_n), alpha, internal[:, 3]]
        return np.column_stack([*first, natural_shape(internal[:, 4:])])

    def internal(self, natural: Floats, center: Center) -> Floats:
        """Give the internal parameters."""
        floor, a, alpha, g = natural[:, :4].T
        first = [np.log(floor), np.log(a) - alpha * center.log_n, np.log(alpha), g]
        return np.column_stack([*first, internal_shape(natural[:, 4:])])


@dataclass(frozen=True, kw_only=True)
class RoutedData:
    """``L = E0 + A·(N·(Ê/Ê(1))^g)^-alpha + B/D^beta``: ``routed`` for runs of different lengths."""

    saturating: bool = True
    """Whether Ê saturates; else Ê = E, and there is no E_start and no E_max."""
    name: ClassVar[LawName] = "routed-data"
    source: ClassVar[str] = "switchbench; Ê of Clark et al. 2022, arXiv:2202.01169, eq. (10)"
    uses_experts: ClassVar[bool] = True
    uses_tokens: ClassVar[bool] = True

    @property
    def formula(self) -> str:
        """The formula."""
        return with_expert_formula("L = E0 + A·(N·(Ê/Ê(1))^g)^-alpha + B/D^beta", saturating=self.saturating)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """E0, A, alpha, g, B, beta, and those of Ê."""
        first = (floor_of_loss("E0"), _A, exponent("alpha"), slope("g"), _B, exponent("beta"))
        return (*first, *(SATURATION if self.saturating else ()))

    def evaluate(self, internal: Floats, points: Points) -> tuple[Floats, Floats]:
        """Give ln L and its Jacobian."""
        log_floor, log_a, log_alpha, g, log_b, log_beta = (internal[:, i, None] for i in range(6))
        alpha, gain = np.exp(log_alpha), expert_gain(points, internal[:, 6:])
        by_size, by_data = -alpha * (points.x + g * gain.h), -np.exp(log_beta) * points.y
        one = np.ones_like(by_size)
        by_shape = {6 + i: -alpha * g * each for i, each in enumerate(gain.by_shape)}
        return sum_of_terms(
            [log_floor * one, log_a + by_size, log_b + by_data],
            [{0: one}, {1: one, 2: by_size, 3: -alpha * gain.h} | by_shape, {4: one, 5: by_data}],
            num_parameters=internal.shape[1],
        )

    def natural(self, internal: Floats, center: Center) -> Floats:
        """Give E0, A, alpha, g, B, beta, E_start and E_max."""
        alpha, beta = np.exp(internal[:, 2]), np.exp(internal[:, 5])
        a, b = np.exp(internal[:, 1] + alpha * center.log_n), np.exp(internal[:, 4] + beta * center.log_d)
        first = [np.exp(internal[:, 0]), a, alpha, internal[:, 3], b, beta]
        return np.column_stack([*first, natural_shape(internal[:, 6:])])

    def internal(self, natural: Floats, center: Center) -> Floats:
        """Give the internal parameters."""
        floor, a, alpha, g, b, beta = natural[:, :6].T
        log_a, log_b = np.log(a) - alpha * center.log_n, np.log(b) - beta * center.log_d
        first = [np.log(floor), log_a, np.log(alpha), g, log_b, np.log(beta)]
        return np.column_stack([*first, internal_shape(natural[:, 6:])])


@dataclass(frozen=True, kw_only=True)
class Clark:
    """``log10 L = a·log10 N + b·log10 Ê + c·log10 N·log10 Ê + d``: experts are worth less to larger models.

    Internally a and b are the slopes in the middle of the data: along N where E = 1, along Ê where N = N0.

    Source:
        Clark et al. 2022 (2202.01169), eq. (7) with Ê of eq. (10).
    """

    saturating: bool = True
    """Whether Ê saturates; else Ê = E, and there is no E_start and no E_max."""
    name: ClassVar[LawName] = "clark"
    source: ClassVar[str] = "Clark et al. 2022, arXiv:2202.01169, eqs. (7) and (10)"
    uses_experts: ClassVar[bool] = True
    uses_tokens: ClassVar[bool] = False

    @property
    def formula(self) -> str:
        """The formula."""
        text = "log10 L = a·log10 N + b·log10 Ê + c·log10 N·log10 Ê + d"
        return with_expert_formula(text, saturating=self.saturating)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """a, b, c, d, and those of Ê."""
        level = Parameter(name="d", unit="log10 nats per token", lower=-20.0, upper=20.0, is_positive=False)
        return (slope("a"), slope("b"), slope("c"), level, *(SATURATION if self.saturating else ()))

    def evaluate(self, internal: Floats, points: Points) -> tuple[Floats, Floats]:
        """Give ln L and its Jacobian."""
        a, b, c, level = (internal[:, i, None] for i in range(4))
        gain = expert_gain(points, internal[:, 4:])
        by_gain = b + c * points.x
        x = np.broadcast_to(points.x, gain.h.shape)
        by_shape = {4 + i: by_gain * each for i, each in enumerate(gain.by_shape)}
        derivatives = {0: x, 1: gain.h, 2: x * gain.h, 3: np.ones_like(x)} | by_shape
        return sum_of_terms([level + a * x + by_gain * gain.h], [derivatives], num_parameters=internal.shape[1])

    def natural(self, internal: Floats, center: Center) -> Floats:
        """Give a, b, c, d, E_start and E_max."""
        a, b, c, level = internal[:, :4].T
        a, b = a - c * (one := log_e_of_one(internal[:, 4:])), b - c * center.log_n
        level = level - a * center.log_n - (b + c * center.log_n) * one
        return np.column_stack([a, b, c * LN10, level / LN10, natural_shape(internal[:, 4:])])

    def internal(self, natural: Floats, center: Center) -> Floats:
        """Give the internal parameters."""
        a, b, c, d = natural[:, :4].T
        shape = internal_shape(natural[:, 4:])
        one, c, level = log_e_of_one(shape), c / LN10, d * LN10
        level = level + a * center.log_n + (b + c * center.log_n) * one
        return np.column_stack([a + c * one, b + c * center.log_n, c, level, shape])


@dataclass(frozen=True, kw_only=True)
class JointMoe:
    """``L = a·Ê^delta·N^(alpha + gamma·ln Ê) + b·Ê^omega·D^(beta + zeta·ln Ê) + c``: experts need data of their own.

    Internally the exponents are slopes in the middle of the data: alpha and beta where E = 1, delta where N = N0, omega
    where D = D0.

    Source:
        Ludziejewski et al. 2025 (2502.05172), eq. (6). Departure: Ê = E where experts span less than a factor of 16.
    """

    saturating: bool = True
    """Whether Ê saturates; else Ê = E, and there is no E_start and no E_max."""
    name: ClassVar[LawName] = "joint-moe"
    source: ClassVar[str] = "Ludziejewski et al. 2025, arXiv:2502.05172"
    uses_experts: ClassVar[bool] = True
    uses_tokens: ClassVar[bool] = True

    @property
    def formula(self) -> str:
        """The formula."""
        text = "L = a·Ê^delta·N^(alpha + gamma·ln Ê) + b·Ê^omega·D^(beta + zeta·ln Ê) + c"
        return with_expert_formula(text, saturating=self.saturating)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """a, delta, alpha, gamma, b, omega, beta, zeta, c, and those of Ê."""
        first = (coefficient("a", unit="nats per token"), slope("delta"), slope("alpha"), slope("gamma"))
        second = (coefficient("b", unit="nats per token"), slope("omega"), slope("beta"), slope("zeta"))
        return (*first, *second, floor_of_loss("c"), *(SATURATION if self.saturating else ()))

    def evaluate(self, internal: Floats, points: Points) -> tuple[Floats, Floats]:
        """Give ln L and its Jacobian."""
        gain = expert_gain(points, internal[:, 9:])
        terms, derivatives = [], []
        for start, along in ((0, points.x), (4, points.y)):
            level, by_gain, exponent, bend = (internal[:, start + i, None] for i in range(4))
            per_h = by_gain + bend * along
            z = np.broadcast_to(along, gain.h.shape)
            terms.append(level + exponent * z + per_h * gain.h)
            by_shape = {9 + i: per_h * each for i, each in enumerate(gain.by_shape)}
            own = (np.ones_like(z), gain.h, z, z * gain.h)
            derivatives.append({start + i: each for i, each in enumerate(own)} | by_shape)
        one = np.ones_like(terms[0])
        return sum_of_terms(
            [*terms, internal[:, 8, None] * one], [*derivatives, {8: one}], num_parameters=internal.shape[1]
        )

    def natural(self, internal: Floats, center: Center) -> Floats:
        """Give a, delta, alpha, gamma, b, omega, beta, zeta, c, E_start and E_max."""
        one = log_e_of_one(internal[:, 9:])
        columns = []
        for start, middle in ((0, center.log_n), (4, center.log_d)):
            level, by_gain, exponent, bend = internal[:, start : start + 4].T
            exponent, by_gain = exponent - bend * one, by_gain - bend * middle
            level = level - exponent * middle - (by_gain + bend * middle) * one
            columns += [np.exp(level), by_gain, exponent, bend]
        return np.column_stack([*columns, np.exp(internal[:, 8]), natural_shape(internal[:, 9:])])

    def internal(self, natural: Floats, center: Center) -> Floats:
        """Give the internal parameters."""
        shape = internal_shape(natural[:, 9:])
        one = log_e_of_one(shape)
        columns = []
        for start, middle in ((0, center.log_n), (4, center.log_d)):
            size, by_gain, exponent, bend = natural[:, start : start + 4].T
            level = np.log(size) + exponent * middle + (by_gain + bend * middle) * one
            columns += [level, by_gain + bend * middle, exponent + bend * one, bend]
        return np.column_stack([*columns, np.log(natural[:, 8]), shape])


def form_named(name: LawName, *, saturating: bool = True) -> Law:
    """Give a form by its name.

    Args:
        name: The form.
        saturating: Whether Ê saturates; without meaning where loss does not depend on E.
    """
    match name:
        case "power":
            return Power()
        case "chinchilla":
            return Chinchilla()
        case "routed":
            return Routed(saturating=saturating)
        case "routed-data":
            return RoutedData(saturating=saturating)
        case "clark":
            return Clark(saturating=saturating)
        case "joint-moe":
            return JointMoe(saturating=saturating)
        case _:
            assert_never(name)
