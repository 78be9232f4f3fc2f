"""`seq2seq evaluate`: scores with their intervals and signatures; systems against each other."""

import json
import math
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from seq2seq.config import Corpus, Data, Evaluation, File, Reported
from seq2seq.config.changing import changed
from seq2seq.console import bar, say
from seq2seq.data.encoding import Sides, encode
from seq2seq.data.normalization import normalizer
from seq2seq.data.overlap import known
from seq2seq.data.prepared import folder_of
from seq2seq.data.store import Store
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
from seq2seq.scoring.oddities import counted, suspicions
from seq2seq.scoring.significance import Difference, interval
from seq2seq.scoring.significance import compare as compare_scores
from seq2seq.text.corpus import read_lines, read_pairs
from seq2seq.text.formats import format_of
from seq2seq.text.rows import Pair
from seq2seq.text.sources import check, find, locate
from seq2seq.training.loss import bounded_exp

Scores = dict[str, Score]

BY_LIKELIHOOD = frozenset({"ppl", "bpc"})  # metrics that need a model


class Judged(NamedTuple):
    """How good hypotheses of a test set are, and what seems to be wrong with them."""

    scores: Scores
    lines: int
    counts: dict[str, int]  # of what went wrong, by its name
    warnings: list[str]


class Result(NamedTuple):
    """How good a model, or a file of hypotheses, is on each test set."""

    model: Path | None
    label: str  # what a table calls it
    sets: dict[str, Judged]


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
    metrics: Sequence[str] = (),
) -> None:
    """Prints the scores of a model on its test sets or on given files, or of a file alone.

    `compare` are other models, or other files, whose differences from the first are tested;
    `metrics` are those of the config unless given.
    """
    check_metrics(metrics)
    if hypothesis is not None:
        if not references or source is not None or model is not None or overrides:
            raise ConfigError(
                "--hypothesis goes with --reference, and with no model, --source or --set"
            )
        results = [
            Result(None, str(path), {hypothesis.name: score_files(path, references, metrics)})
            for path in (hypothesis, *compare)
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
        results = [score_model(reporting(one, metrics), tests, output) for one in opened]
    if as_json:
        print(json.dumps(as_object(results), indent=2, ensure_ascii=False))
    else:
        show(results)


def check_metrics(metrics: Sequence[str]) -> None:
    """Raises a ConfigError that lists all metrics if one of these is unknown."""
    every = get_args(Reported)
    for name in metrics:
        if name not in every:
            raise ConfigError(f"--metrics: must be some of {', '.join(every)}, not {name}")


def reporting(opened: Opened, metrics: Sequence[str]) -> Opened:
    """The model, with the metrics that were asked for, if any were."""
    if not metrics:
        return opened
    return opened._replace(config=changed(opened.config, "evaluation", {"metrics": [*metrics]}))


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
    data = opened.config.data
    for name, corpus in corpora.items():
        sources, targets = zip(*read_set(corpus, data), strict=True)
        others = [
            [pair.target for pair in read_set(Corpus(source=corpus.source, target=file), data)]
            for file in corpus.references
        ]
        tests.append(Test(name, list(sources), [list(targets), *others], corpus.tag))
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
        sets[test.name] = judge_set(opened, model, test, hypotheses)
        warn(test.name, sets[test.name])
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


def judge_set(opened: Opened, model: Seq2Seq, test: Test, hypotheses: Sequence[str]) -> Judged:
    """Every score that the config asks for, and what seems to be wrong.

    Perplexity and bits per character are those of the first references.
    """
    metrics = opened.config.evaluation.metrics
    found: Scores = {}
    if BY_LIKELIHOOD & {*metrics}:
        pairs = [Pair(*both) for both in zip(test.sources, test.references[0], strict=True)]
        found |= likelihood_of(opened, model, pairs, test.tag)
    text_metrics = [metric for metric in metrics if metric not in BY_LIKELIHOOD]
    found |= score(text_metrics, hypotheses, test.references, opened.config.data.target)
    counts = counted(hypotheses, test.references, test.sources)
    warnings = suspicions(hypotheses, test.references)
    if (learned := learned_of(opened, test)) is not None:
        counts["learned"] = learned
        if learned:
            warnings.append(
                f"{learned:,} of {len(hypotheses):,} references are among the training targets"
            )
    chosen: Scores = {metric: found[metric] for metric in metrics}
    return Judged(chosen, len(hypotheses), counts, warnings)


def learned_of(opened: Opened, test: Test) -> int | None:
    """How many first references are targets that the model was trained on, if those are here."""
    folder = folder_of(opened.config) / "train"
    if not folder.is_dir():
        return None
    data = opened.config.data
    lines = list(map(normalizer(data.normalize, data.target), test.references[0]))
    ids = opened.tokenizers.target.encode(lines)
    return int(known(ids, Store.open(folder).target).sum())


def warn(name: str, judged: Judged) -> None:
    """Says what seems to be wrong with a test set."""
    for message in judged.warnings:
        say(f"warning: {name}: {message}")


def likelihood_of(
    opened: Opened, model: Seq2Seq, pairs: Sequence[Pair], tag: str | None = None
) -> Scores:
    """Perplexity by piece and bits per character of the targets of pairs.

    The end of a line counts as a piece, and as a character. Pieces differ from one vocabulary to
    another, characters do not.
    """
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
    nats = np.array([-one.log_probability for one in judged])
    pieces = np.array([len(one.log_probabilities) for one in judged])
    characters = np.array([len(line) + 1 for line in lines.target])
    by = f"eos:yes|tok:sentencepiece-{opened.tokenizers.fingerprint[:8]}"
    own = f"version:seq2seq-{version('seq2seq')}"
    return {
        "ppl": Score(
            "PPL",
            f"unit:piece|{by}|{own}",
            np.stack([nats, pieces], axis=1),
            lambda sums: bounded_exp(sums[0] / sums[1]),
        ),
        "bpc": Score(
            "BPC",
            f"unit:character|eol:yes|{own}",
            np.stack([nats / math.log(2), characters], axis=1),
            lambda sums: float(sums[0] / sums[1]),
        ),
    }


def score_files(
    hypothesis: Path, references: Sequence[Path], metrics: Sequence[str] = ()
) -> Judged:
    """The scores of a file of hypotheses, without a model; it says what seems to be wrong."""
    if unfit := BY_LIKELIHOOD & {*metrics}:
        raise ConfigError(f"--metrics: {min(unfit)} needs a model, and --hypothesis has none")
    files = [File(path=str(path)) for path in (hypothesis, *references)]
    for file in files:
        locate(file, "name another file")
    hypotheses, *others = (
        list(read_lines(file, format_of(file.path, pairs=False))) for file in files
    )
    chosen = metrics or [one for one in Evaluation().metrics if one not in BY_LIKELIHOOD]
    scores = score(chosen, hypotheses, others)
    judged = Judged(
        scores, len(hypotheses), counted(hypotheses, others), suspicions(hypotheses, others)
    )
    warn(hypothesis.name, judged)
    return judged


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
            for name, (scores, *_) in first.sets.items()
        },
        "counts": {name: judged.counts for name, judged in first.sets.items()},
        "warnings": {name: judged.warnings for name, judged in first.sets.items()},
    }
    if others:
        made["compared"] = {
            other.label: {
                name: {
                    metric: {"score": scores[metric].score, **difference._asdict()}
                    for metric, difference in differences(scores, first.sets[name].scores).items()
                }
                for name, (scores, *_) in other.sets.items()
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
    for name, (scores, lines, counts, _) in first.sets.items():
        print(name)
        for one in scores.values():
            low, high = interval(one)
            print(f"  {one.name:<8} {one.score:7.2f} [{low:.2f}, {high:.2f}]  {one.signature}")
        print(f"  of {lines:,} lines: {', '.join(said(counts))}")
        for other in others:
            print(f"  {other.label}, against {first.label}:")
            compared = other.sets[name].scores
            for metric, found in differences(compared, scores).items():
                one = compared[metric]
                print(
                    f"    {one.name:<8} {one.score:7.2f} {found.difference:+7.2f}"
                    f"  p = {found.bootstrap:.4f} (paired bootstrap),"
                    f" {found.randomization:.4f} (randomization)"
                )


def said(counts: dict[str, int]) -> Iterator[str]:
    """Counts in words."""
    words = {
        "empty": "empty",
        "repetitions": "repetitions",
        "too_long": "more than twice as long as the reference",
        "copies": "copies of the source",
        "learned": "with a reference from the training set",
    }
    return (f"{count:,} {words[name]}" for name, count in counts.items())
