"""Tensors of which each process holds a share (FSDP2's DTensors), and the whole of them.

Right for ordinary tensors, too: they are whole already.
"""

from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, gathered if it is shared out: then every process must call this at once."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def shared_out_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's share of a whole tensor that every process has, cut as `like` is cut."""
    mesh, placements = getattr(like, "device_mesh", None), getattr(like, "placements", None)
    if mesh is None:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    # src_data_rank: None, because all have the same and nothing needs to be sent
    return distribute_tensor(tensor, mesh, placements, src_data_rank=None)
