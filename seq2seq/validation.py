"""What a model in training is judged by: perplexity, accuracy, and scores of greedy translations.

Several processes share the work, and all get the same scores.
"""

import math
import random
from collections.abc import Sequence

from seq2seq import distributed
from seq2seq.config import OF_TRUE_TEXT, Config, Corpus
from seq2seq.config.objectives import TRANSLATION
from seq2seq.console import interject
from seq2seq.data.batches import Batches
from seq2seq.data.objectives import Objectives
from seq2seq.data.store import Store
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.decoding.translator import Translator
from seq2seq.models import Seq2Seq
from seq2seq.prepare import Prepared
from seq2seq.scoring.metrics import score
from seq2seq.text.corpus import read_pairs
from seq2seq.text.languages import target_language
from seq2seq.text.sources import find
from seq2seq.training.loss import judge
from seq2seq.training.progress import Log, Scores

BATCH_TOKENS = 4096  # to validate with where training.batch_tokens is auto
CHANCE_LINES = 500  # that are scored to tell chance: enough, and TER takes long of unlike lines


class Validation:
    """The validation set and those watched beside it, and how models are judged by them."""

    def __init__(self, config: Config, prepared: Prepared) -> None:
        self.valid = Judged(config, prepared, config.data.valid, prepared.valid)
        self.watched = {
            name: Judged(config, prepared, corpus, prepared.watch[name])
            for name, corpus in config.data.watch.items()
        }
        self.samples = chosen(len(self.valid.text), config.training.samples, config.seed)

    def scores(self, model: Seq2Seq, log: Log, *, translating: bool = True) -> Scores:
        """The scores of a model that is not training; of its translations if it is time for them.

        Under torchrun all must call this.
        """
        valid, translations = self.valid.scores(model, translating=translating)
        if translations:
            for number in self.samples:
                log.sample(*self.valid.text[number], translations[number])
        watched = {
            name: one.scores(model, translating=translating)[0]
            for name, one in self.watched.items()
        }
        return Scores(valid, watched, self.valid.chance(translations))


class Judged:
    """A set of pairs that models are judged by."""

    def __init__(self, config: Config, prepared: Prepared, corpus: Corpus, pairs: Store) -> None:
        self.config = config
        self.corpus = corpus
        self.tokenizers = prepared.tokenizers
        tokens = config.training.batch_tokens
        self.batches = Batches(
            pairs,
            BATCH_TOKENS if tokens == "auto" else tokens,
            objectives=Objectives(
                prepared.tokenizers, [corpus.objective], [len(pairs)], config.seed
            ),
        )
        translates = corpus.objective == TRANSLATION
        self.text = list(read_pairs(find(corpus, config.data, None))) if translates else []
        self.language = target_language(corpus, config.data)
        self.said: set[str] = set()  # metrics whose notes were told, which once is enough

    def scores(self, model: Seq2Seq, *, translating: bool) -> tuple[dict[str, float], list[str]]:
        """The scores, and the translations if there are any."""
        found = judge(model, self.batches)
        scores = {"ppl": found.perplexity, "accuracy": found.accuracy}
        metrics = [one for one in self.config.training.metrics if one not in OF_TRUE_TEXT]
        can_translate = math.isfinite(found.perplexity)  # else the model has diverged
        if not (metrics and self.text and translating and can_translate):
            return scores, []
        hypotheses = self._translations(model)
        references = [[pair.target for pair in self.text]]
        told = score(metrics, hypotheses, references, self.language)
        for name, one in told.items():
            if one.notes and name not in self.said:
                self.said.add(name)
                interject(f"warning: validation: {'; '.join(one.notes)}")
        return scores | {name: one.score for name, one in told.items()}, hypotheses

    def chance(self, hypotheses: Sequence[str]) -> float | None:
        """The judging metric of translations beside the references of other sentences.

        None if it goes by no translations, or if there is no other sentence.
        """
        metric = self.config.training.metrics[0]
        if metric in OF_TRUE_TEXT or len(hypotheses) < 2:
            return None
        away = len(hypotheses) // 2  # neighbours may be of one text, and alike
        others = [pair.target for pair in self.text[away:] + self.text[:away]]
        some = slice(CHANCE_LINES)
        found = score([metric], hypotheses[some], [others[some]], self.language)
        return found[metric].score

    def _translations(self, model: Seq2Seq) -> list[str]:
        """Greedy translations, shared out to all processes."""
        greedy = self.config.decoding.model_copy(update={"beam": 1})
        translator = Translator(PyTorch(model), self.tokenizers, greedy, self.config.data)
        sources = [pair.source for pair in self.text]
        number, of = distributed.rank(), distributed.size()
        own = translator.translate(sources[number::of], tag=self.corpus.tag)
        hypotheses = [""] * len(sources)
        for other, lines in enumerate(distributed.gathered(own)):
            hypotheses[other::of] = lines
        return hypotheses


def chosen(count: int, samples: int, seed: int) -> list[int]:
    """Return the numbers of some of `count` sentences, in order; the same ones for a seed."""
    return sorted(random.Random(seed).sample(range(count), min(samples, count)))
