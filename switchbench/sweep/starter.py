"""A commented sweep file to start from."""

import re
import shlex
from pathlib import Path

from switchbench.errors import UsageError
from switchbench.sweep.outline import name_problem

_STARTER = """\
# What is the question, and what do you expect? State both below before the first run: the report sets them beside the
# answer.
#
# Check it      switchbench validate {file}
# See the plan  switchbench sweep {file} --dry-run
# Run it        switchbench sweep {file}
# The tables    switchbench report --sweep {name}

schema: 1
name: "{name}"               # also the folder of the results
question: How much does quality gain from more experts at equal FLOPs per token?
# expected: |                # what you would bet on, paragraphs apart by an empty line
#   Sixteen experts beat four by more than the noise of the seeds.

base:                         # one complete run; every field has a default
  data: {{corpus: python-stdlib, tokenizer: bytes, seq_len: 128}}
  # data: {{corpus: text, path: my_texts}}            # your own: a file, a folder or a glob
  model: {{size: xxs, ffn: {{kind: sparse, router: switch, num_experts: 4, capacity_factor: 1.25}}}}
  train: {{tokens: 2e6, batch_tokens: 2048, learning_rate: 1e-2}}

sweep:
  grid:                       # axes multiply
    model.ffn.num_experts: [2, 4, 8, 16]
    # train.weight_decay: {{values: [0.0, 0.1], when: {{model.ffn.num_experts: 16}}}}   # an axis for some cells alone

  # zip:                      # rows do not multiply among themselves: one axis made of whole rows
  #   - {{model.size: xxs, train.learning_rate: 1e-2}}
  #   - {{model.size: xs, train.learning_rate: 5e-3}}

  # derive:                   # computed from other fields; params_active, params_total and num_steps are known as well
  #   train.tokens: 20 * params_active

  # constraints:              # a configuration that does not meet them is dropped, with the reason
  #   - num_experts * d_ff <= 65536

  # tune:                     # the best value for every configuration, dense and sparse, with equally many tries;
  #   train.learning_rate: [5e-3, 1e-2, 2e-2]              # on a seed of its own (tune_seeds), which is not reported
  #   model.ffn.aux_loss_weight: [1e-3, 1e-2]              # dense lacks it: twice as many learning rates for dense

  seeds: [0, 1, 2, 3]         # replicates: averaged over, never an axis
  baselines: [iso_flop]       # dense twins: iso_flop, iso_active_params, iso_total_params

report:
  primary: {{sparse: {{num_experts: 16}}, dense: iso_flop}}   # the pair that the verdict is about
  min_effect: 0.005           # the smallest difference that matters, as a share of the dense twin's nll
  confidence: 0.95            # how sure a verdict must be
"""


def write_starter(path: Path) -> None:
    """Write a commented sweep file to start from; the sweep is named like the file.

    Args:
        path: The file; must not exist.

    Raises:
        UsageError: it exists already, or cannot be written.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", path.stem)[:80]
    problem = name_problem(name)
    if problem or not str(path).isprintable():
        reason = problem or "its path has characters that cannot be printed"
        raise UsageError(f"{path}: the sweep is named like the file, and {reason}; choose another name for it")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_STARTER.format(name=name, file=shlex.quote(str(path))))
    except FileExistsError:
        raise UsageError(f"{path} is there already, and is left as it is; choose another name") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL byte
        raise UsageError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
