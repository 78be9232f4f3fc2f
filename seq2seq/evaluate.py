"""`seq2seq evaluate`: perplexity, BLEU, chrF, TER and ROUGE, each with its signature."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.config import Corpus, Data, Evaluation, File
from seq2seq.console import bar, say
from seq2seq.data.encoding import Sides, encode
from seq2seq.data.normalization import normalizer
from seq2seq.decoding.choice import open_engine
from seq2seq.decoding.engine import Engine
from seq2seq.decoding.forced import judge
from seq2seq.decoding.translator import Translator
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import write_file, write_json
from seq2seq.models import Seq2Seq
from seq2seq.models.folder import choose_device, load_model
from seq2seq.runs import Opened, open_model
from seq2seq.scoring.metrics import Score, score
from seq2seq.text.corpus import read_lines, read_pairs
from seq2seq.text.formats import format_of
from seq2seq.text.rows import Pair
from seq2seq.text.sources import check, find, locate
from seq2seq.training.loss import bounded_exp

Scores = dict[str, Score]


def evaluate(
    model: Path | None,
    overrides: Sequence[str],
    *,
    source: Path | None,
    reference: Path | None,
    hypothesis: Path | None,
    output: Path | None,
    as_json: bool,
    device: str | None,
    tag: str | None,
) -> None:
    """Prints the scores of a model on its test sets or on given files, or of a file alone."""
    if hypothesis is not None:
        if reference is None or source is not None or model is not None or overrides:
            raise ConfigError(
                "--hypothesis goes with --reference, and with no model, --source or --set"
            )
        show(None, {hypothesis.name: score_files(hypothesis, reference)}, as_json)
        return
    if (source is None) != (reference is None):
        raise ConfigError("--source and --reference go together")
    if tag and source is None:
        raise ConfigError("--tag goes with --source; a test set has its tag in the config")
    opened = open_model(model, overrides, device=device)
    config = opened.config
    sets = dict(config.data.test)
    if source is not None:
        files = File(path=str(source)), File(path=str(reference))
        sets = {source.name: Corpus(source=files[0], target=files[1], tag=tag)}
    if not sets:
        raise UserError(
            f"the config of {opened.folder} names no test set; give --source and --reference"
        )
    folder = output or opened.results
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load_model(opened.folder, config, opened.tokenizers, choose_device(config.device))
    engine = open_engine(opened.folder, config, opened.tokenizers, lambda: loaded)
    results = {}
    for name, pairs in {name: read_set(sets[name], config.data) for name in sets}.items():
        hypotheses = translate_set(opened, engine, name, pairs, sets[name].tag)
        write_file(folder / f"{name}.hypotheses.txt", "".join(f"{line}\n" for line in hypotheses))
        results[name] = score_set(opened, loaded, pairs, hypotheses, sets[name].tag)
        one = as_object(opened.folder, {name: results[name]})
        write_json(folder / f"{name}.scores.json", one)
    show(opened.folder, results, as_json)
    say(f"translations and scores are kept in {folder}")


def read_set(corpus: Corpus, data: Data) -> list[Pair]:
    """The pairs of a test set, whose files must be the right ones; missing ones are fetched."""
    texts = find(corpus, data)
    for text in texts:
        for file in text.files:
            check(file)
    return list(read_pairs(texts))


def translate_set(
    opened: Opened, engine: Engine, name: str, pairs: Sequence[Pair], tag: str | None = None
) -> list[str]:
    """The translation of each source, with a progress bar on a terminal."""
    translator = Translator(
        engine,
        opened.tokenizers,
        opened.config.decoding,
        opened.config.data,
        warn=lambda message: say(f"warning: {name}: {message}"),
    )
    with bar(name, len(pairs), "lines") as shown:
        return translator.translate([pair.source for pair in pairs], tag=tag, done=shown.update)


def score_set(
    opened: Opened,
    model: Seq2Seq,
    pairs: Sequence[Pair],
    hypotheses: Sequence[str],
    tag: str | None = None,
) -> Scores:
    """Every score that the config asks for."""
    metrics = opened.config.evaluation.metrics
    found: Scores = {"ppl": perplexity_of(opened, model, pairs, tag)} if "ppl" in metrics else {}
    text_metrics = [metric for metric in metrics if metric != "ppl"]
    references = [[pair.target for pair in pairs]]
    found |= score(text_metrics, hypotheses, references, opened.config.data.target)
    return {metric: found[metric] for metric in metrics}


def perplexity_of(
    opened: Opened, model: Seq2Seq, pairs: Sequence[Pair], tag: str | None = None
) -> Score:
    """Perplexity by piece, with what must agree before two of them can be compared."""
    data = opened.config.data
    lines = Sides(
        *(
            list(map(normalizer(data.normalize, language), side))
            for side, language in zip(
                zip(*pairs, strict=True), (data.source, data.target), strict=True
            )
        )
    )
    store, _ = encode(lines, opened.tokenizers, tag, data.max_length, training=False)
    judged = judge(model, store, opened.config.decoding.batch_tokens)
    statistics = np.array([(-one.log_probability, len(one.log_probabilities)) for one in judged])
    signature = "|".join(
        [
            "unit:piece",
            "eos:yes",
            f"tok:sentencepiece-{opened.tokenizers.fingerprint[:8]}",
            f"version:seq2seq-{version('seq2seq')}",
        ]
    )
    return Score("PPL", signature, statistics, lambda sums: bounded_exp(sums[0] / sums[1]))


def score_files(hypothesis: Path, reference: Path) -> Scores:
    """The scores of a file of hypotheses, without a model."""
    files = [File(path=str(path)) for path in (hypothesis, reference)]
    for file in files:
        locate(file, "name another file")
    hypotheses, references = (
        list(read_lines(file, format_of(file.path, pairs=False))) for file in files
    )
    metrics = [metric for metric in Evaluation().metrics if metric != "ppl"]
    return score(metrics, hypotheses, [references])


def as_object(model: Path | None, results: dict[str, Scores]) -> dict[str, Any]:
    """The results as JSON has them."""
    return {
        "model": None if model is None else str(model),
        "sets": {
            name: {
                metric: {"score": one.score, "signature": one.signature}
                for metric, one in scores.items()
            }
            for name, scores in results.items()
        },
    }


def show(model: Path | None, results: dict[str, Scores], as_json: bool) -> None:
    """Prints the results: a table for people, or JSON for programs."""
    if as_json:
        print(json.dumps(as_object(model, results), indent=2, ensure_ascii=False))
        return
    for name, scores in results.items():
        print(name)
        for one in scores.values():
            print(f"  {one.name:<8} {one.score:7.2f}  {one.signature}")
