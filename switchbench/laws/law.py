"""What every functional form offers."""

from typing import Literal, Protocol, get_args

from switchbench.laws.parameters import Parameter
from switchbench.laws.points import Center, Floats, Points

LawName = Literal["power", "chinchilla", "routed", "routed-data", "clark", "joint-moe"]
LAW_NAMES: tuple[LawName, ...] = get_args(LawName)


class Law(Protocol):
    """What every form offers."""

    @property
    def name(self) -> LawName:
        """Its name on the command line."""

    @property
    def formula(self) -> str:
        """The formula; N in parameters, D in tokens, L in nats per token."""

    @property
    def source(self) -> str:
        """Where it comes from."""

    @property
    def uses_experts(self) -> bool:
        """Whether loss depends on E."""

    @property
    def uses_tokens(self) -> bool:
        """Whether loss depends on D."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters, in their order."""

    def evaluate(self, internal: Floats, points: Points) -> tuple[Floats, Floats]:
        """Give ln L, (fits, rows), and its Jacobian, (fits, rows, parameters)."""

    def natural(self, internal: Floats, center: Center) -> Floats:
        """Give the parameters as they stand in the formula, (fits, parameters)."""

    def internal(self, natural: Floats, center: Center) -> Floats:
        """Give the internal parameters of those in the formula, (fits, parameters)."""
