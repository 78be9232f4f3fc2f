"""Parts of a model by the names of its weights: what patterns name, and how deep a weight lies."""

import re
from fnmatch import fnmatchcase

from torch import nn

from seq2seq.models.interface import Embeddings

# a layer of a stack: encoder.3.attention.query.weight, decoder.weight_ih_l1_reverse
LAYER = re.compile(r"(encoder|decoder)\.(?:(\d+)\.|\w+_l(\d+)(?:_reverse)?$)")
TABLES = ("embeddings.", "source_positions.", "target_positions.")


def named_by(pattern: str, name: str) -> bool:
    """Whether a pattern names a parameter, or a part that it lies in."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def parts_named(model: nn.Module) -> str:
    """The parts that a model has, as an error lists them."""
    return ", ".join(sorted({name.split(".")[0] for name, _ in model.named_parameters()}))


def depths(model: nn.Module) -> dict[str, int]:
    """How many layers lie above each weight, by its name.

    The last layer of the encoder is at the top, as is that of the decoder, and what comes behind
    them: norms, what leads from one to the other, an output layer of its own. Embeddings and
    positions lie below all layers.
    """
    places = {name: place_of(name) for name, _ in model.named_parameters()}
    layers: dict[str, int] = {}
    for stack, number in filter(None, places.values()):
        layers[stack] = max(layers.get(stack, 0), number + 1)
    bottom = max(layers.values(), default=0)
    outputs = {
        f"{place}.output."
        for place, module in model.named_modules()
        if isinstance(module, Embeddings) and module.output not in (module.source, module.target)
    }
    found = {}
    for name, place in places.items():
        if place is not None:
            stack, number = place
            found[name] = layers[stack] - 1 - number
        else:
            below = name.startswith(TABLES) and not name.startswith(tuple(outputs))
            found[name] = bottom if below else 0
    return found


def place_of(name: str) -> tuple[str, int] | None:
    """The stack of a weight and the number of its layer from the bottom; None outside of stacks."""
    match = LAYER.match(name)
    return match and (match[1], int(match[2] or match[3]))
