"""Options of training: when it ends, what an update is, what is validated and kept."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from seq2seq.config.section import (
    FREE,
    Count,
    CountOrAuto,
    CountOrZero,
    Positive,
    PositiveOrZero,
    PositiveShare,
    Section,
    Share,
    Text,
)
from seq2seq.config.tuning import Lora, TextOrigin

Metric = Literal[  # that a model can be chosen by
    "ppl",
    "accuracy",
    "bleu",
    "chrf",
    "chrf++",
    "ter",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeLsum",
    "exact",
]
LOWER_IS_BETTER = frozenset({"ppl", "bpc", "ter"})
OF_TRUE_TEXT = ("ppl", "accuracy")  # of the pieces that should be said; the others translate first

Schedule = Literal[
    "inverse_sqrt", "cosine", "linear", "constant", "warmup_stable_decay", "reduce_on_plateau"
]

ENDING = frozenset({"cosine", "linear", "warmup_stable_decay"})  # what ends with max_updates


class Training(Section):
    """How the model learns. Training ends with the first limit reached, or by patience."""

    max_updates: Annotated[Count, FREE] = 20_000
    """Limit of optimizer updates; schedules that fall to nothing end here."""
    max_epochs: Annotated[Count | None, FREE] = None
    """Limit of passes over the training pairs."""
    max_minutes: Annotated[Positive | None, FREE] = None
    """Limit of wall-clock minutes, validation included, over all resumed parts."""
    batch_tokens: CountOrAuto = 4096
    """Padded positions of the longer side in a batch, `</s>` included; auto: what the GPU holds."""
    accumulate: Count = 1
    """Batches whose gradients make one update."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Numbers to multiply in; weights are fp32 always. auto: bf16 where it is fast, else fp32."""
    compile: bool = False
    """Whether torch compiles the model first: a minute or two, which may pay on a GPU."""
    parallel: Annotated[Literal["ddp", "fsdp"], FREE] = "ddp"
    """Under torchrun: the whole model in each process (ddp), or cut into shares (fsdp)."""
    optimizer: Literal["adamw", "adam", "sgd", "adafactor", "muon"] = "adamw"
    """What turns gradients into updates; muon is for matrices, and has adamw for the rest."""
    learning_rate: Positive = 1.0e-3
    """The highest learning rate, reached when the warm-up ends."""
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)] = [0.9, 0.98]
    """Decay of the averages of gradients and of their squares, of adam, adamw and muon's rest."""
    momentum: Share = 0.95
    """Decay of the average of gradients, of sgd and muon."""
    weight_decay: PositiveOrZero = 0.01
    """Decay of weight matrices (adam, sgd: an L2 penalty); embeddings, biases, norms never do."""
    schedule: Schedule = "inverse_sqrt"
    """What the learning rate does after the warm-up."""
    warmup: CountOrZero = 1000
    """Updates over which the learning rate rises from nothing."""
    decay: PositiveShare = 0.2
    """Share of max_updates over which warmup_stable_decay falls to nothing, at the end."""
    plateau_patience: Count = 2
    """Judged validations without a better score before reduce_on_plateau lowers the rate."""
    plateau_factor: PositiveShare = 0.5
    """What reduce_on_plateau multiplies the learning rate by."""
    ema: Share = 0.0
    """Decay of a running mean of weights, which is what is validated and kept as best; 0: none."""
    r_drop: PositiveOrZero = 0.0
    """How much two passes with other dropout must agree (Liang et al. 2021); 0: one pass."""
    subword_sampling: Literal["none", "source", "target", "both"] = "none"
    """Sides that are cut into other pieces each time (unigram: Kudo 2018; bpe: BPE-dropout)."""
    subword_alpha: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.1
    """How: a unigram's probability to this power (less is wilder), or the merges bpe leaves out."""
    label_smoothing: Share = 0.1
    """Share of the target probability spread evenly over all pieces that can be written."""
    clip_norm: PositiveOrZero = 1.0
    """Longest gradient, as a 2-norm; longer ones are scaled down to it. 0: never."""
    validate_every: Count = 500
    """Updates between validations, each of which saves a checkpoint."""
    decode_every: Count = 1
    """Validations between those that also translate; the others give perplexity and accuracy."""
    metrics: Annotated[list[Metric], Field(min_length=1)] = ["bleu", "ppl"]
    """What to validate by; the first decides which is best, once it is clearly above chance."""
    patience: Annotated[Count | None, FREE] = 10
    """Stop after so many validations without a better score (or perplexity); null: never."""
    keep_best: Annotated[CountOrZero, FREE] = 5
    """Best checkpoints to keep."""
    keep_last: Annotated[Count, FREE] = 2
    """Last checkpoints to keep."""
    average: CountOrZero = 5
    """Checkpoints to average into a last candidate for the best model; 0 or 1: none."""
    average_of: Literal["best", "last"] = "best"
    """Which checkpoints to average."""
    log_every: Annotated[Count, FREE] = 50
    """Updates between lines of the log."""
    samples: Annotated[CountOrZero, FREE] = 2
    """Validation sentences to show with their translations; drawn by the seed, always the same."""
    tensorboard: Annotated[bool, FREE] = False
    """Whether to write curves for TensorBoard, beside metrics.jsonl."""
    init_from: TextOrigin | None = None
    """A model or run to start from: weights, tokenizer, and what is left open here of model."""
    freeze: list[str] = []
    """Parts that do not learn, as in [encoder, "*norm*"]; with ! in front, those that do."""
    rates: dict[Text, Positive] = {}
    """Parts and what their learning rate is multiplied by; the last that names a weight decides."""
    layer_decay: Annotated[float, Field(strict=True, gt=0, le=1)] = 1.0
    """What multiplies the learning rate for each layer that lies above (Howard and Ruder 2018)."""
    unfreeze_every: CountOrZero = 0
    """Updates until the next layer learns, too, from the last one downwards; 0: all do at once."""
    extend_vocab: bool = False
    """Whether the pieces of init_from are added to: tags, and characters that it does not know."""
    lora: Lora | None = None
    """Adapters to learn and keep in place of the weights of init_from; null: none."""
    export: Annotated[Literal["ctranslate2"] | None, FREE] = None
    """What `seq2seq export` must be able to make of the model; null: nothing in particular."""

    @property
    def decay_start(self) -> int:
        """After how many updates warmup_stable_decay begins to fall."""
        return self.max_updates - max(1, round(self.decay * self.max_updates))

    def conflicts(self) -> Iterator[tuple[str, str]]:
        kept = self.keep_best if self.average_of == "best" else self.keep_last
        if self.average > max(kept, 1):
            option = f"keep_{self.average_of}"
            yield "average", f"cannot average {self.average} checkpoints of {option}: {kept}"
        if self.schedule in ENDING and self.warmup >= self.max_updates:
            yield "warmup", f"must end before max_updates ({self.max_updates:,})"
        elif self.schedule == "warmup_stable_decay" and self.warmup > self.decay_start:
            yield (
                "decay",
                f"would begin after {self.decay_start:,} updates, before the warm-up ends "
                f"({self.warmup:,})",
            )
        if self.lora and self.init_from is None:
            yield "lora", "adapters are added to a model; name it in training.init_from"
        if self.lora and self.init_from and self.init_from.encoder != self.init_from.decoder:
            yield "lora", "adapters are for one model; name no other in training.init_from"
        if self.extend_vocab and self.init_from is None:
            yield "extend_vocab", "there is no vocabulary to extend without training.init_from"
        if self.extend_vocab and self.lora:
            yield "extend_vocab", "only adapters would learn (training.lora), but no new embeddings"
        if self.lora and self.freeze:
            yield "freeze", "nothing but adapters learns (training.lora); leave one of the two out"
        if len(set(self.metrics)) < len(self.metrics):
            yield "metrics", "names a metric twice"
