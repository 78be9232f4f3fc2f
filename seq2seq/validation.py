"""What a model in training is judged by: perplexity, and scores of greedy translations.

Several processes share the work, and all get the same scores.
"""

from collections.abc import Sequence

from seq2seq import distributed
from seq2seq.config import Config
from seq2seq.data.batches import Batches
from seq2seq.data.objectives import Objectives
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.decoding.translator import Translator
from seq2seq.models import Seq2Seq
from seq2seq.prepare import Prepared
from seq2seq.scoring.metrics import score
from seq2seq.text.corpus import read_pairs
from seq2seq.text.sources import find
from seq2seq.training.loss import perplexity
from seq2seq.training.progress import Log

BATCH_TOKENS = 4096  # to validate with where training.batch_tokens is auto


class Validation:
    """The validation set, and how models are judged by it."""

    def __init__(self, config: Config, prepared: Prepared) -> None:
        self.config = config
        self.tokenizers: Tokenizers = prepared.tokenizers
        tokens = config.training.batch_tokens
        objectives = Objectives(
            prepared.tokenizers, [config.data.valid.objective], [len(prepared.valid)], config.seed
        )
        self.batches = Batches(
            prepared.valid,
            BATCH_TOKENS if tokens == "auto" else tokens,
            objectives=objectives,
        )
        self.text = list(read_pairs(find(config.data.valid, config.data)))

    def scores(self, model: Seq2Seq, log: Log, *, translating: bool = True) -> dict[str, float]:
        """The scores of a model that is not training; of its translations if it is time for them.

        Under torchrun all must call this.
        """
        scores = {"ppl": perplexity(model, self.batches)}
        metrics = [metric for metric in self.config.training.metrics if metric != "ppl"]
        if metrics and translating:
            scores |= self._score_translations(model, metrics, log)
        return scores

    def _score_translations(
        self, model: Seq2Seq, metrics: Sequence[str], log: Log
    ) -> dict[str, float]:
        greedy = self.config.decoding.model_copy(update={"beam": 1})
        translator = Translator(PyTorch(model), self.tokenizers, greedy, self.config.data)
        sources = [pair.source for pair in self.text]
        number, of = distributed.rank(), distributed.size()
        own = translator.translate(sources[number::of], tag=self.config.data.valid.tag)
        hypotheses = [""] * len(sources)
        for other, lines in enumerate(distributed.gathered(own)):
            hypotheses[other::of] = lines
        for number in range(min(self.config.training.samples, len(hypotheses))):
            log.sample(*self.text[number], hypotheses[number])
        references = [[pair.target for pair in self.text]]
        found = score(metrics, hypotheses, references, self.config.data.target)
        return {name: one.score for name, one in found.items()}
