"""What the backward pass really keeps, counted where PyTorch stores it."""

import weakref
from collections.abc import Callable, Iterable

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


class Keeper:
    """Stands in for a saved tensor; autograd lets go of it when it lets go of the tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def kept_storages(compute: Callable[[], Tensor], *, given: Iterable[Tensor]) -> dict[int, Tensor]:
    """Tensors that live on for the backward pass after a forward pass, one for each storage.

    Left out are scalars, and what was there before.

    Args:
        compute: The forward pass; gives what the backward pass starts from.
        given: Weights and inputs.
    """
    keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()

    def pack(tensor: Tensor) -> Keeper:
        keeper = Keeper(tensor)
        keepers.add(keeper)
        return keeper

    with saved_tensors_hooks(pack, lambda keeper: keeper.tensor):
        objective = compute()
    known = {tensor.untyped_storage().data_ptr() for tensor in given}
    kept = {keeper.tensor.untyped_storage().data_ptr(): keeper.tensor for keeper in keepers if keeper.tensor.ndim > 0}
    assert objective.requires_grad
    return {place: tensor for place, tensor in kept.items() if place not in known}


def num_bytes(storages: dict[int, Tensor]) -> int:
    """Bytes of storages."""
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())
