"""What a run is: data, model and training as frozen, fully resolved specifications, and the identity made from them.

A ``RunSpec`` decides a run's result completely (on one machine with one thread count). How it is executed (device,
threads) is an ``ExecutionSpec``, which is recorded but is no part of the identity.
"""

from switchbench.spec.architecture import Architecture, architecture_of
from switchbench.spec.data import CorpusKind, DataIdentity, DataSpec
from switchbench.spec.ffn import DenseFFNSpec, FFNSpec, SparseFFNSpec, default_d_ff, expert_capacity, is_gated
from switchbench.spec.fields import Precision
from switchbench.spec.model import SIZES, ModelSpec, Shape
from switchbench.spec.run import (
    SCHEMA,
    AnnealPoint,
    Backend,
    Dispatch,
    ExecutionSpec,
    RunSpec,
    TrainSpec,
    smaller_micro_batch,
)

__all__ = [
    "SCHEMA",
    "SIZES",
    "AnnealPoint",
    "Architecture",
    "Backend",
    "CorpusKind",
    "DataIdentity",
    "DataSpec",
    "DenseFFNSpec",
    "Dispatch",
    "ExecutionSpec",
    "FFNSpec",
    "ModelSpec",
    "Precision",
    "RunSpec",
    "Shape",
    "SparseFFNSpec",
    "TrainSpec",
    "architecture_of",
    "default_d_ff",
    "expert_capacity",
    "is_gated",
    "smaller_micro_batch",
]
