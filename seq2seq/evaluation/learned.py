"""What a model has seen of a test set in training, as far as its prepared data is still here."""

from collections import Counter
from collections.abc import Sequence

from seq2seq.data.encoding import Sides
from seq2seq.data.normalization import normalizer
from seq2seq.data.prepared import folder_of
from seq2seq.data.store import Store
from seq2seq.runs import Opened
from seq2seq.scoring.contamination import Contamination, contamination
from seq2seq.scoring.metrics import words

SAMPLE = 200_000  # targets whose words are counted: enough to tell rare words from common ones
STRETCH = 10_000  # of them at once


def learned_lines(
    opened: Opened, sources: Sequence[str], references: Sequence[str]
) -> Contamination | None:
    """How many lines of a test set the model was trained on; None: nobody knows."""
    if (store := _open(opened)) is None:
        return None
    data = opened.config.data
    sides = zip((sources, references), (data.source, data.target), strict=True)
    lines = [list(map(normalizer(data.normalize, language), side)) for side, language in sides]
    return contamination(Sides(*lines), opened.tokenizers, store)


def learned_words(opened: Opened) -> Counter[str] | None:
    """How often words stood in training targets, an even sample of them; None: nobody knows."""
    if (store := _open(opened)) is None:
        return None
    chosen = range(0, len(store), -(-len(store) // SAMPLE))
    seen: Counter[str] = Counter()
    for start in range(0, len(chosen), STRETCH):
        some = [store.target.segment(number) for number in chosen[start : start + STRETCH]]
        for line in opened.tokenizers.target.decode(some):
            seen.update(words(line))
    return seen


def _open(opened: Opened) -> Store | None:
    folder = folder_of(opened.config) / "train"
    return Store.open(folder) if folder.is_dir() else None
