"""Micro-benchmarks of the feed-forward layer and of the training step, interleaved in one process of our own."""

from switchbench.bench.ask import LayerRequest, StepRequest, measure, parse_shapes
from switchbench.bench.tables import bench_json, print_bench

__all__ = ["LayerRequest", "StepRequest", "bench_json", "measure", "parse_shapes", "print_bench"]
