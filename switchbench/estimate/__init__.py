"""What models cost before anybody builds them: published ones, sizes of the ladder, configurations of sweeps."""

from switchbench.estimate.costs import Convention, Estimate, Request, estimate
from switchbench.estimate.document import estimates_json
from switchbench.estimate.tables import print_estimates

__all__ = ["Convention", "Estimate", "Request", "estimate", "estimates_json", "print_estimates"]
