"""A small sweep file, and the text it is about."""

from pathlib import Path

SWEEP = """\
schema: 1
name: small
question: Does the scheduler keep its word?
expected: |
  That it does.
base:
  data: {{corpus: text, path: {corpus}, seq_len: 32, held_out_fraction: 0.1}}
  model:
    d_model: 16
    num_layers: 2
    num_heads: 2
    d_head: 8
    ffn: {{kind: sparse, num_experts: 2}}
  train: {{tokens: 8192, batch_tokens: 512, eval_points: 2, eval_tokens: 512}}
sweep:
  grid:
    model.ffn.num_experts: [2, 4]
  seeds: [0, 1, 2, 3]
  baselines: [iso_flop]
"""


def write_sweep(file: Path, *, corpus: Path) -> None:
    """Write a sweep file of two sparse configurations with their dense twin, and a corpus of some files."""
    corpus.mkdir()
    for number in range(30):
        words = [f"{(number * 7919 + index * index) % 4001:x}" for index in range(400)]
        (corpus / f"part{number:02d}.txt").write_text(" ".join(words), encoding="utf-8")
    file.write_text(SWEEP.format(corpus=corpus), encoding="utf-8")
