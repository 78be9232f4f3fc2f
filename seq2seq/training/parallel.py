"""A model that several processes train together, started by `torchrun`; right when alone.

Either each has the whole model, and gradients are averaged as they are made (DDP: Li et al. 2020),
or each has a share of every weight and of what the optimizer remembers of it, and layers are put
together when they are needed (FSDP: Zhao et al. 2023), for models that do not fit.
"""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from torch import Tensor, nn

from seq2seq import distributed
from seq2seq.config import Training
from seq2seq.distributed import whole
from seq2seq.models import Seq2Seq
from seq2seq.models.adapters import own_parameters
from seq2seq.models.folder import set_weights


def working_together(criterion: nn.Module, config: Training, model: Seq2Seq) -> nn.Module:
    """The criterion with a model that learns from the gradients of all processes.

    The parameters of `model`, which is inside, may be replaced by shares of them.
    """
    if distributed.size() == 1:
        return criterion
    if config.parallel == "fsdp":
        from torch.distributed.fsdp import fully_shard

        # it warns of writing into what layers give, which none of ours does
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
        for layer in model.blocks:
            fully_shard(layer)
        fully_shard(criterion)
        return criterion
    from torch.nn.parallel import DistributedDataParallel

    leaves_out = bool(getattr(model, "layer_dropout", 0.0))
    return DistributedDataParallel(
        criterion, gradient_as_bucket_view=True, find_unused_parameters=leaves_out
    )


def synchronised(criterion: nn.Module, *, now: bool) -> AbstractContextManager[object]:
    """Gradients made in here are averaged over processes, or wait for those that will be."""
    if distributed.size() == 1:
        return nullcontext()
    from torch.nn.parallel import DistributedDataParallel

    if isinstance(criterion, DistributedDataParallel):
        return nullcontext() if now else criterion.no_sync()
    criterion.set_requires_gradient_sync(now)  # type: ignore[operator] # FSDPModule
    return nullcontext()


def replica(model: Seq2Seq, rebuild: Callable[[], Seq2Seq] | None) -> Seq2Seq:
    """The model, or another with whole weights where processes have shares of them.

    So each process may use it as often as it likes, without the others.
    """
    if not any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
        return model
    assert rebuild is not None
    other = rebuild().eval()
    set_weights(other, whole_weights(model), Path("the training"))
    return other


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """What is kept of a model by name, gathered on processors; what is shared, once."""
    parameters = own_parameters(model)
    return {name: whole(parameter.detach()).cpu() for name, parameter in parameters.items()}
