"""Learning rates by part: how fast each weight learns, and from when on, beside the schedule.

What was learned before is kept better if low layers, which know what is general, learn slowly or
late (Howard and Ruder 2018, sections 3.2 and 3.3, https://aclanthology.org/P18-1031).
"""

from torch import nn

from seq2seq.config import Training
from seq2seq.errors import ConfigError
from seq2seq.models.parts import depths, named_by, parts_named


def factors_of(model: nn.Module, config: Training) -> dict[nn.Parameter, float]:
    """What the learning rate is multiplied by for each parameter of a model.

    `layer_decay` to the power of the layers above, times the factor of the last of `rates` that
    names the weight. Raises a ConfigError for a pattern that names nothing.
    """
    parameters, depth = dict(model.named_parameters()), depths(model)
    rates = dict.fromkeys(parameters, 1.0)
    for pattern, factor in config.rates.items():
        found = [name for name in parameters if named_by(pattern, name)]
        if not found:
            raise ConfigError(
                f"training.rates: {pattern} names no part of the model, which has "
                f"{parts_named(model)}"
            )
        rates.update(dict.fromkeys(found, factor))
    return {
        parameter: rates[name] * config.layer_decay ** depth[name]
        for name, parameter in parameters.items()
    }


def waiting(model: nn.Module, config: Training, update: int) -> list[nn.Parameter]:
    """The parameters that do not learn yet after so many updates: those of low layers.

    With each `unfreeze_every` updates one more layer learns, the last of the encoder and that of
    the decoder from the beginning, embeddings at the end (gradual unfreezing).
    """
    if not config.unfreeze_every:
        return []
    learning, depth = update // config.unfreeze_every, depths(model)
    return [one for name, one in model.named_parameters() if depth[name] > learning]
