"""One run: from a specification to the rows it leaves."""

from switchbench.train.run import train_run

__all__ = ["train_run"]
