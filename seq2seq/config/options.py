"""Every option: its type, its default, its range, and the text that documents it."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from seq2seq.config.data import Data
from seq2seq.config.objectives import TRANSLATION
from seq2seq.config.section import (
    FREE,
    Count,
    CountOrAuto,
    CountOrZero,
    Name,
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
Reported = Literal[
    "ppl",
    "bpc",
    "bleu",
    "chrf",
    "chrf++",
    "ter",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeLsum",
    "exact",
    "length",
]

LOWER_IS_BETTER = frozenset({"ppl", "bpc", "ter"})

Schedule = Literal[
    "inverse_sqrt", "cosine", "linear", "constant", "warmup_stable_decay", "reduce_on_plateau"
]

ENDING = frozenset({"cosine", "linear", "warmup_stable_decay"})  # what ends with max_updates

SHARED_EMBEDDINGS = Literal["all", "target", "none"]


class Tokenizer(Section):
    """Text to pieces: a SentencePiece model trained on the training text."""

    kind: Literal["unigram", "bpe", "char", "word"] = "unigram"
    """How pieces are found: unigram (Kudo 2018), bpe (Sennrich et al. 2016), char or word."""
    vocab_size: Annotated[int, Field(strict=True, ge=8)] = 8000
    """Number of pieces, special ones and bytes included; an upper bound for char and word."""
    shared: bool = True
    """One vocabulary for both sides, or one a side."""
    character_coverage: Annotated[float, Field(strict=True, ge=0.98, le=1)] = 0.9995
    """Share of the characters of the text that become pieces of their own."""
    normalization: Literal["nmt_nfkc", "nfkc", "identity"] = "nmt_nfkc"
    """NFKC (full-width to ASCII, … to ...), with odd spaces mended too (nmt_nfkc), or nothing."""
    byte_fallback: bool = True
    """Spell what the pieces cannot as bytes (256 pieces), so that nothing is ever unknown."""
    training_sentences: Count = 2_000_000
    """At most so many lines, a random sample, are used to find the pieces."""


class Transformer(Section):
    """Encoder and decoder with attention alone (Vaswani et al. 2017)."""

    kind: Literal["transformer"] = "transformer"
    """The model: transformer, or lstm."""
    dim: Count = 256
    """Width of the model."""
    ffn_dim: Count = 1024
    """Inner width of the feed-forward layers."""
    heads: Count = 4
    """Attention heads; they share the width evenly."""
    encoder_layers: Count = 3
    """Number of encoder layers."""
    decoder_layers: Count = 3
    """Number of decoder layers."""
    norm: Literal["pre", "post"] = "pre"
    """Norm before each sub-layer (steadier), or after it, as first published."""
    normalization: Literal["layer", "rms"] = "layer"
    """Layer norm, or RMSNorm (Zhang and Sennrich 2019)."""
    positions: Literal["sinusoidal", "learned", "relative", "rotary", "alibi", "none"] = (
        "sinusoidal"
    )
    """How a position is told from another: by what is added to embeddings, or by distances."""
    activation: Literal["relu", "gelu", "geglu", "swiglu"] = "relu"
    """Inside the feed-forward layers; geglu and swiglu are gated, with a third matrix."""
    kv_heads: Count | None = None
    """Heads of keys and values, each for a group of heads (Ainslie et al. 2023); null: as many."""
    autoregression: Literal["self_attention", "ssru"] = "self_attention"
    """What the decoder knows its own words by: attention, or a light and faster recurrence."""
    share_layers: Literal["none", "encoder", "decoder", "all"] = "none"
    """Whether all layers of a side are one and the same (Dehghani et al. 2019)."""
    share_embeddings: SHARED_EMBEDDINGS = "all"
    """Same weights for source, target and output (all), target and output (target), or none."""
    dropout: Share = 0.1
    """Dropout of embeddings and of what each sub-layer adds."""
    attention_dropout: Share = 0.0
    """Dropout of the attention weights."""
    activation_dropout: Share = 0.0
    """Dropout inside the feed-forward layers."""
    word_dropout: Share = 0.0
    """Share of tokens whose embeddings become nothing (Sennrich et al. 2016)."""
    layer_dropout: Share = 0.0
    """Share of layers that are left out of an update (Fan et al. 2020)."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.dim % self.heads:
            yield "heads", f"{self.heads} heads cannot share a width of {self.dim} evenly"
        if self.positions == "sinusoidal" and self.dim % 2:
            yield "dim", f"sinusoidal positions need an even width, not {self.dim}"
        if self.positions == "rotary" and self.dim // self.heads % 2:
            yield (
                "heads",
                f"rotary positions need heads of even width, not {self.dim // self.heads}",
            )
        if self.kv_heads and self.heads % self.kv_heads:
            yield "kv_heads", f"{self.heads} heads cannot share {self.kv_heads} evenly"


class Recurrent(Section):
    """A recurrent encoder and decoder, with attention or without."""

    kind: Literal["lstm"]
    """The model: transformer, or lstm."""
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """The recurrent cell."""
    dim: Count = 512
    """Width of the decoder's state; a bidirectional encoder has half of it a side."""
    embedding_dim: Count = 256
    """Width of the embeddings, and of what the output layer sees."""
    encoder_layers: Count = 1
    """Number of encoder layers."""
    decoder_layers: Count = 1
    """Number of decoder layers."""
    bidirectional: bool = True
    """Whether the encoder reads from both ends."""
    attention: Literal["additive", "dot", "general", "scaled_dot", "none"] = "additive"
    """Additive (Bahdanau et al. 2015), dot or general (Luong et al. 2015), scaled_dot, or none."""
    input_feeding: bool = True
    """Whether the decoder reads its last attentional vector (Luong et al. 2015)."""
    share_embeddings: SHARED_EMBEDDINGS = "all"
    """Same weights for source, target and output (all), target and output (target), or none."""
    dropout: Share = 0.2
    """Dropout of embeddings, between layers, and before the output layer."""
    word_dropout: Share = 0.0
    """Share of tokens whose embeddings become nothing (Sennrich et al. 2016)."""

    @model_validator(mode="before")
    @classmethod
    def _without_attention_nothing_to_feed(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("attention") == "none":
            return {"input_feeding": False, **values}
        return values

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.bidirectional and self.dim % 2:
            yield "dim", f"a bidirectional encoder has half of dim a side; {self.dim} is odd"
        if self.attention == "none" and self.input_feeding:
            yield "input_feeding", "there is nothing to feed without attention; set it to false"


def why_not_ctranslate2(model: Transformer | Recurrent) -> str | None:
    """Why CTranslate2 cannot serve a model of such options, in words; None if it can."""
    if model.kind != "transformer":
        return f"it has no model of kind {model.kind}"
    if model.positions in ("relative", "rotary", "alibi"):
        return f"positions that are {model.positions} are for our own search"
    if model.kv_heads not in (None, model.heads):
        return "heads that share keys and values (kv_heads) are for our own search"
    if model.autoregression != "self_attention":
        return f"a decoder with {model.autoregression} is for our own search"
    return None


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
    """Share of the target probability spread evenly over the vocabulary."""
    clip_norm: PositiveOrZero = 1.0
    """Longest gradient, as a 2-norm; longer ones are scaled down to it. 0: never."""
    validate_every: Count = 500
    """Updates between validations, each of which saves a checkpoint."""
    decode_every: Count = 1
    """Validations between those that also translate; the others give perplexity alone."""
    metrics: Annotated[list[Metric], Field(min_length=1)] = ["bleu", "ppl"]
    """What to validate by; the first decides which checkpoint is best, and when to stop."""
    patience: Annotated[Count | None, FREE] = 10
    """Stop after so many validations without a better score; null: never."""
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
    """Validation sentences to show with their translations."""
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


class Decoding(Section):
    """How translations are searched for."""

    engine: Annotated[Literal["auto", "pytorch", "ctranslate2"], FREE] = "auto"
    """Who searches: CTranslate2 for what it serves, or our own search; auto chooses."""
    precision: Annotated[Literal["fp32", "bf16", "int8"], FREE] = "fp32"
    """What is computed in: bf16 with our own search only, int8 with CTranslate2 only."""
    beam: Annotated[Count, FREE] = 5
    """Hypotheses kept at each step; 1 is greedy search. Validation is always greedy."""
    length_penalty: Annotated[PositiveOrZero, FREE] = 1.0
    """Alpha: how far the scores of long hypotheses are lifted before they are compared."""
    length_normalization: Annotated[Literal["gnmt", "average"], FREE] = "gnmt"
    """What divides a score: ((5 + length) / 6) ** alpha (Wu et al. 2016), or length ** alpha."""
    coverage_penalty: Annotated[PositiveOrZero, FREE] = 0.0
    """Beta: how far source words that got little attention lower a score (Wu et al. 2016)."""
    n_best: Annotated[Count, FREE] = 1
    """Translations to give of each line, the best first."""
    diversity_groups: Annotated[Count, FREE] = 1
    """Parts of the beam that search apart from each other (Vijayakumar et al. 2018)."""
    diversity_penalty: Annotated[PositiveOrZero, FREE] = 0.5
    """What a group pays for each token that groups before it have chosen at the same step."""
    sampling: Annotated[bool, FREE] = False
    """Whether to draw translations at random; n_best are drawn, without a beam."""
    temperature: Annotated[Positive, FREE] = 1.0
    """What logits are divided by before a token is drawn."""
    top_k: Annotated[CountOrZero, FREE] = 0
    """Draw from so many of the likeliest tokens (Fan et al. 2018); 0: from all."""
    top_p: Annotated[float, FREE, Field(strict=True, gt=0, le=1)] = 1.0
    """Draw from the likeliest tokens that have such a share together (Holtzman et al. 2020)."""
    min_p: Annotated[Share, FREE] = 0.0
    """Draw from tokens at least so likely, relative to the likeliest (Nguyen et al. 2025)."""
    seed: Annotated[CountOrZero, FREE] = 1
    """What samples are drawn by; a line's sample depends on it and the line's number alone."""
    risk: Annotated[Literal["none", "chrf", "bleu"], FREE] = "none"
    """Give the translation that is most like all others found (minimum Bayes risk), by a score."""
    candidates: Annotated[Count, FREE] = 16
    """Translations of a line to choose from by risk: samples, or the best of the beam."""
    min_length: Annotated[CountOrZero, FREE] = 0
    """Pieces that a translation must have."""
    min_length_ratio: Annotated[PositiveOrZero, FREE] = 0.0
    """Pieces per source piece that a translation must have."""
    max_length: Annotated[Count | None, FREE] = None
    """Pieces that a translation may have; data.max_length bounds it in any case."""
    max_length_ratio: Annotated[Positive, FREE] = 2.0
    """A translation has at most so many pieces per source piece, and ten more."""
    no_repeat_ngram: Annotated[CountOrZero, FREE] = 0
    """No so many pieces stand side by side twice in a translation; 0: they may."""
    repetition_penalty: Annotated[float, FREE, Field(strict=True, ge=1)] = 1.0
    """What multiplies the cost of pieces that the translation has already (Keskar et al. 2019)."""
    batch_tokens: Annotated[Count, FREE] = 4096
    """Padded source positions times beam that are decoded together."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.beam % self.diversity_groups:
            yield (
                "diversity_groups",
                f"{self.diversity_groups} groups cannot share a beam of {self.beam} evenly",
            )
        if self.risk != "none" and self.n_best > self.candidates:
            yield "n_best", f"{self.candidates} candidates have no {self.n_best} best"
        if self.n_best > self.beam and not self.sampling and self.risk == "none":
            yield "n_best", f"a beam of {self.beam} has no {self.n_best} best; widen decoding.beam"


class Evaluation(Section):
    """What `seq2seq evaluate` reports."""

    metrics: Annotated[list[Reported], FREE, Field(min_length=1)] = [
        "ppl",
        "bleu",
        "chrf",
        "ter",
        "rouge1",
        "rouge2",
        "rougeL",
    ]
    """Scores of each test set; docs/metrics.md tells what they are."""


class Config(Section):
    """A whole experiment."""

    name: Annotated[Name, FREE]
    """What the run is called: it is kept in runs/<name>. The config's file name unless given."""
    seed: CountOrZero = 1
    """Where all randomness comes from."""
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], FREE] = "auto"
    """Where to compute; auto takes a GPU when there is one."""
    data: Data
    tokenizer: Tokenizer = Tokenizer()
    model: Annotated[Transformer | Recurrent, Field(discriminator="kind")] = Transformer()
    training: Training = Training()
    decoding: Decoding = Decoding()
    evaluation: Evaluation = Evaluation()

    def conflicts(self) -> Iterator[tuple[str, str]]:
        sampling, kind = self.training.subword_sampling, self.tokenizer.kind
        if sampling != "none" and kind not in ("unigram", "bpe"):
            yield (
                "training.subword_sampling",
                f"there is one way to cut text into {kind}s; set it to none, or tokenizer.kind "
                "to unigram or bpe",
            )
        for number, corpus in enumerate(self.data.train):
            if corpus.objective.task == "spans" and not self.tokenizer.shared:
                yield (
                    f"data.train.{number}.objective",
                    "sources and targets of spans have pieces in common; set it to another, or "
                    "tokenizer.shared to true",
                )
        if self.data.valid.objective != TRANSLATION and self.training.metrics != ["ppl"]:
            yield (
                "training.metrics",
                "only the perplexity of an objective such as that of data.valid is judged; set it "
                "to [ppl]",
            )
        model, fsdp = dict(self.model), self.training.parallel == "fsdp"
        if fsdp and model.get("layer_dropout"):
            yield (
                "training.parallel",
                "processes that have shares of a layer cannot leave it out one by one; set it to "
                "ddp, or model.layer_dropout to 0",
            )
        if fsdp and model.get("share_layers", "none") != "none":
            yield (
                "training.parallel",
                "a layer that is used again cannot be cut into shares; set it to ddp, or "
                "model.share_layers to none",
            )
        if self.model.share_embeddings == "all" and not self.tokenizer.shared:
            yield (
                "model.share_embeddings",
                "all embeddings cannot be shared by two vocabularies; "
                "set it to target, or tokenizer.shared to true",
            )
        if self.training.export and (reason := why_not_ctranslate2(self.model)):
            yield (
                "training.export",
                f"CTranslate2 cannot serve the model: {reason}; set it to null, or choose "
                "another model",
            )
        if self.tokenizer.byte_fallback and self.tokenizer.vocab_size < 300:
            yield (
                "tokenizer.vocab_size",
                f"{self.tokenizer.vocab_size} leaves no room beside 256 bytes; "
                "raise it to 300 or more, or set tokenizer.byte_fallback to false",
            )
