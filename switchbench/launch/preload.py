"""Imported once by the fork server: all that a run imports, also what PyTorch imports only when it is first needed.

The first optimizer makes PyTorch import its compiler, 800 modules that take one to two seconds and 80 MB. Done here,
it is shared by all runs and is no part of the memory that they are measured to need. Nothing here starts a thread: the
server must be able to fork. What is left is put out of the garbage collector's sight, which would else walk through all
of PyTorch in every run, for more than a tenth of a second, and copy the pages.
"""

import gc

import torch

import switchbench.launch.worker  # noqa: F401  (the import is the purpose)

_weight = torch.nn.Parameter(torch.zeros(2, 2))
_optimizer = torch.optim.AdamW([_weight], fused=True)
_weight.sum().backward()  # type: ignore[no-untyped-call]
torch.nn.utils.clip_grad_norm_([_weight], 1.0)
_optimizer.step()
del _weight, _optimizer
gc.collect()
gc.freeze()
