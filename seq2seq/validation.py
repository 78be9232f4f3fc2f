"""What a model in training is judged by: perplexity, accuracy, and scores of greedy translations.

Several processes share the work, and all get the same scores.
"""

from seq2seq import distributed
from seq2seq.config import OF_TRUE_TEXT, Config, Corpus
from seq2seq.config.objectives import TRANSLATION
from seq2seq.data.batches import Batches
from seq2seq.data.objectives import Objectives
from seq2seq.data.store import Store
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.decoding.translator import Translator
from seq2seq.models import Seq2Seq
from seq2seq.prepare import Prepared
from seq2seq.scoring.metrics import score
from seq2seq.text.corpus import read_pairs
from seq2seq.text.sources import find
from seq2seq.training.loss import judge
from seq2seq.training.progress import Log, Scores

BATCH_TOKENS = 4096  # to validate with where training.batch_tokens is auto


class Validation:
    """The validation set and those watched beside it, and how models are judged by them."""

    def __init__(self, config: Config, prepared: Prepared) -> None:
        self.valid = Judged(config, prepared, config.data.valid, prepared.valid)
        self.watched = {
            name: Judged(config, prepared, corpus, prepared.watch[name])
            for name, corpus in config.data.watch.items()
        }
        self.samples = config.training.samples

    def scores(self, model: Seq2Seq, log: Log, *, translating: bool = True) -> Scores:
        """The scores of a model that is not training; of its translations if it is time for them.

        Under torchrun all must call this.
        """
        valid, translations = self.valid.scores(model, translating=translating)
        for pair, translation in zip(self.valid.text[: self.samples], translations, strict=False):
            log.sample(*pair, translation)
        watched = {
            name: one.scores(model, translating=translating)[0]
            for name, one in self.watched.items()
        }
        return Scores(valid, watched)


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

    def scores(self, model: Seq2Seq, *, translating: bool) -> tuple[dict[str, float], list[str]]:
        """The scores, and the translations if there are any."""
        found = judge(model, self.batches)
        scores = {"ppl": found.perplexity, "accuracy": found.accuracy}
        metrics = [one for one in self.config.training.metrics if one not in OF_TRUE_TEXT]
        if not (metrics and self.text and translating):
            return scores, []
        hypotheses = self._translations(model)
        references = [[pair.target for pair in self.text]]
        told = score(metrics, hypotheses, references, self.config.data.target)
        return scores | {name: one.score for name, one in told.items()}, hypotheses

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
