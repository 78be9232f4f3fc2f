"""`seq2seq evaluate`: scores with their intervals and signatures; systems against each other."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

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
from seq2seq.scoring.significance import Difference, interval
from seq2seq.scoring.significance import compare as compare_scores
from seq2seq.text.corpus import read_lines, read_pairs
from seq2seq.text.formats import format_of
from seq2seq.text.rows import Pair
from seq2seq.text.sources import check, find, locate
from seq2seq.training.loss import bounded_exp

Scores = dict[str, Score]


class Result(NamedTuple):
    """How good a model, or a file of hypotheses, is on each test set."""

    model: Path | None
    label: str  # what a table calls it
    sets: dict[str, Scores]


def evaluate(
    model: Path | None,
    overrides: Sequence[str],
    *,
    source: Path | None,
    references: Sequence[Path],
    hypothesis: Path | None,
    compare: Sequence[Path],
    output: Path | None,
    as_json: bool,
    device: str | None,
    tag: str | None,
) -> None:
    """Prints the scores of a model on its test sets or on given files, or of a file alone.

    `compare` are other models, or other files, whose differences from the first are tested.
    """
    if hypothesis is not None:
        if not references or source is not None or model is not None or overrides:
            raise ConfigError(
                "--hypothesis goes with --reference, and with no model, --source or --set"
            )
        found = [score_files(path, references) for path in (hypothesis, *compare)]
        results = [
            Result(None, str(path), {hypothesis.name: scores})
            for path, scores in zip((hypothesis, *compare), found, strict=True)
        ]
    else:
        if (source is None) != (not references):
            raise ConfigError("--source and --reference go together")
        if tag and source is None:
            raise ConfigError("--tag goes with --source; a test set has its tag in the config")
        if output and compare:
            raise ConfigError("--output is for one model; with --compare, each has its own folder")
        opened = [open_model(one, overrides, device=device) for one in (model, *compare)]
        data = opened[0].config.data
        tests = [given(source, references, tag, data)] if source else read_sets(opened[0])
        results = [score_model(one, tests, output) for one in opened]
    if as_json:
        print(json.dumps(as_object(results), indent=2, ensure_ascii=False))
    else:
        show(results)


class Test(NamedTuple):
    """A test set."""

    name: str
    sources: list[str]
    references: list[list[str]]  # one or more sets of them
    tag: str | None


def given(source: Path, references: Sequence[Path], tag: str | None, data: Data) -> Test:
    """The test set of files that a person named."""
    pairs = [
        read_set(Corpus(source=File(path=str(source)), target=File(path=str(path))), data)
        for path in references
    ]
    targets = [[pair.target for pair in some] for some in pairs]
    return Test(source.name, [pair.source for pair in pairs[0]], targets, tag)


def read_sets(opened: Opened) -> list[Test]:
    """The test sets of a model's config."""
    corpora = opened.config.data.test
    if not corpora:
        raise UserError(
            f"the config of {opened.folder} names no test set; give --source and --reference"
        )
    tests = []
    for name, corpus in corpora.items():
        sources, targets = zip(*read_set(corpus, opened.config.data), strict=True)
        tests.append(Test(name, list(sources), [list(targets)], corpus.tag))
    return tests


def score_model(opened: Opened, tests: Sequence[Test], output: Path | None) -> Result:
    """Translates test sets and scores them; keeps translations and scores in a folder."""
    folder = output or opened.results
    folder.mkdir(parents=True, exist_ok=True)
    config = opened.config
    model = load_model(opened.folder, config, opened.tokenizers, choose_device(config.device))
    engine = open_engine(opened.folder, config, opened.tokenizers, lambda: model)
    sets = {}
    for test in tests:
        hypotheses = translate_set(opened, engine, test)
        lines = "".join(f"{line}\n" for line in hypotheses)
        write_file(folder / f"{test.name}.hypotheses.txt", lines)
        sets[test.name] = score_set(opened, model, test, hypotheses)
        one = Result(opened.folder, str(opened.folder), {test.name: sets[test.name]})
        write_json(folder / f"{test.name}.scores.json", as_object([one]))
    say(f"translations and scores are kept in {folder}")
    return Result(opened.folder, str(opened.folder), sets)


def read_set(corpus: Corpus, data: Data) -> list[Pair]:
    """The pairs of a test set, whose files must be the right ones; missing ones are fetched."""
    texts = find(corpus, data)
    for text in texts:
        for file in text.files:
            check(file)
    return list(read_pairs(texts))


def translate_set(opened: Opened, engine: Engine, test: Test) -> list[str]:
    """The translation of each source, with a progress bar on a terminal."""
    translator = Translator(
        engine,
        opened.tokenizers,
        opened.config.decoding,
        opened.config.data,
        warn=lambda message: say(f"warning: {test.name}: {message}"),
    )
    with bar(test.name, len(test.sources), "lines") as shown:
        return translator.translate(test.sources, tag=test.tag, done=shown.update)


def score_set(opened: Opened, model: Seq2Seq, test: Test, hypotheses: Sequence[str]) -> Scores:
    """Every score that the config asks for; perplexity is that of the first references."""
    metrics = opened.config.evaluation.metrics
    found: Scores = {}
    if "ppl" in metrics:
        pairs = [Pair(*both) for both in zip(test.sources, test.references[0], strict=True)]
        found["ppl"] = perplexity_of(opened, model, pairs, test.tag)
    text_metrics = [metric for metric in metrics if metric != "ppl"]
    found |= score(text_metrics, hypotheses, test.references, opened.config.data.target)
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


def score_files(hypothesis: Path, references: Sequence[Path]) -> Scores:
    """The scores of a file of hypotheses, without a model."""
    files = [File(path=str(path)) for path in (hypothesis, *references)]
    for file in files:
        locate(file, "name another file")
    hypotheses, *others = (
        list(read_lines(file, format_of(file.path, pairs=False))) for file in files
    )
    metrics = [metric for metric in Evaluation().metrics if metric != "ppl"]
    return score(metrics, hypotheses, others)


def as_object(results: Sequence[Result]) -> dict[str, Any]:
    """The results as JSON has them: the first, and how the others differ from it."""
    first, *others = results
    made: dict[str, Any] = {
        "model": None if first.model is None else str(first.model),
        "sets": {
            name: {
                metric: {
                    "score": one.score,
                    "interval": list(interval(one)),
                    "signature": one.signature,
                }
                for metric, one in scores.items()
            }
            for name, scores in first.sets.items()
        },
    }
    if others:
        made["compared"] = {
            other.label: {
                name: {
                    metric: {"score": scores[metric].score, **difference._asdict()}
                    for metric, difference in differences(scores, first.sets[name]).items()
                }
                for name, scores in other.sets.items()
            }
            for other in others
        }
    return made


def differences(scores: Scores, baseline: Scores) -> dict[str, Difference]:
    """How scores differ from others of the same sentences, where they can be compared."""
    return {
        metric: compare_scores(one, baseline[metric])
        for metric, one in scores.items()
        if metric in baseline and one.signature == baseline[metric].signature
    }


def show(results: Sequence[Result]) -> None:
    """Prints the results as tables for people."""
    first, *others = results
    for name, scores in first.sets.items():
        print(name)
        for one in scores.values():
            low, high = interval(one)
            print(f"  {one.name:<8} {one.score:7.2f} [{low:.2f}, {high:.2f}]  {one.signature}")
        for other in others:
            print(f"  {other.label}, against {first.label}:")
            for metric, found in differences(other.sets[name], scores).items():
                one = other.sets[name][metric]
                print(
                    f"    {one.name:<8} {one.score:7.2f} {found.difference:+7.2f}"
                    f"  p = {found.bootstrap:.4f} (paired bootstrap),"
                    f" {found.randomization:.4f} (randomization)"
                )
