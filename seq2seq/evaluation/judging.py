"""Judging: a model translates test sets, or a file brings hypotheses; both are scored alike."""

import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from seq2seq.config import Evaluation, File
from seq2seq.config.changing import changed
from seq2seq.console import bar, say
from seq2seq.data.encoding import Sides, encode
from seq2seq.data.normalization import normalizer
from seq2seq.decoding.choice import open_engine
from seq2seq.decoding.engine import Engine
from seq2seq.decoding.forced import judge
from seq2seq.decoding.translator import Translator, Warnings
from seq2seq.errors import ConfigError
from seq2seq.evaluation.keeping import Origin, hash_of_lines, keep, options_of
from seq2seq.evaluation.learned import learned_lines, learned_words
from seq2seq.evaluation.results import Judged, Result, Scores, as_object
from seq2seq.evaluation.sets import Test, language_of
from seq2seq.layout import SCORES
from seq2seq.models import Seq2Seq
from seq2seq.models.folder import choose_device, hash_of, load_model
from seq2seq.regular import check_inside
from seq2seq.runs import Opened
from seq2seq.scoring.comet import check_comet, comet
from seq2seq.scoring.metrics import Score, notes_of, score
from seq2seq.scoring.oddities import counted, distinct, suspicions
from seq2seq.scoring.slices import by_length, by_part, by_rarity
from seq2seq.text.corpus import read_lines
from seq2seq.text.formats import format_of
from seq2seq.text.rows import Pair
from seq2seq.text.sources import locate
from seq2seq.training.loss import bounded_exp

BY_LIKELIHOOD = frozenset({"ppl", "bpc"})  # metrics that need a model
BEYOND_TEXT = BY_LIKELIHOOD | {"comet"}  # and one that needs sources


def score_model(
    opened: Opened,
    tests: Sequence[Test],
    metrics: Sequence[str],
    output: Path | None,
    *,
    own: bool,
) -> Result:
    """Translates test sets and scores them; keeps translations and scores in a folder.

    `metrics` are those of the config unless given. Test sets and options are the model's `own` if
    its config has them so.
    """
    if metrics:
        evaluation = changed(opened.config, "evaluation", {"metrics": [*metrics]})
        opened = opened._replace(config=evaluation)
    if "comet" in opened.config.evaluation.metrics:
        check_comet()
    folder = output or opened.results
    if output is None:
        check_inside(folder, folder.parent)
    folder.mkdir(parents=True, exist_ok=True)
    config = opened.config
    model = load_model(opened.folder, config, opened.tokenizers, choose_device(config.device))
    engine = open_engine(opened.folder, config, opened.tokenizers, lambda: model)
    sets = {}
    for test in tests:
        hypotheses = translate_set(opened, engine, test)
        sets[test.name] = judge_set(opened, model, test, hypotheses)
        warn(test.name, sets[test.name])
        one = Result(opened.folder, str(opened.folder), {test.name: sets[test.name]})
        origin = origin_of(opened, test, hypotheses)
        keep(folder, test.name, hypotheses, as_object([one]), origin, own=own)
    say(f"translations and scores are kept in {folder}")
    return Result(opened.folder, str(opened.folder), sets)


def origin_of(opened: Opened, test: Test, hypotheses: Sequence[str]) -> Origin:
    """Return what makes the scores of a model on a test set."""
    known = json.loads((opened.folder / SCORES).read_bytes())
    made_of = {name: known[name] for name in ("update", "average") if name in known}
    return Origin(
        {"sha256": hash_of(opened.folder), **made_of},
        options_of(opened.config.decoding),
        test.sha256,
        hash_of_lines(hypotheses),
    )


def translate_set(opened: Opened, engine: Engine, test: Test) -> list[str]:
    """The translation of each source, with a progress bar on a terminal."""
    warnings = Warnings(lambda message: say(f"warning: {test.name}: {message}"))
    translator = Translator(
        engine,
        opened.tokenizers,
        opened.config.decoding,
        opened.config.data,
        warn=warnings,
    )
    with bar(test.name, len(test.sources), "lines") as shown:
        found = translator.translate(test.sources, tag=test.tag, done=shown.update)
    warnings.close()
    return found


def judge_set(opened: Opened, model: Seq2Seq, test: Test, hypotheses: Sequence[str]) -> Judged:
    """Every score that the config asks for, and what seems to be wrong.

    Perplexity and bits per character are those of the first references.
    """
    metrics = opened.config.evaluation.metrics
    found: Scores = {}
    if BY_LIKELIHOOD & {*metrics}:
        pairs = [Pair(*both) for both in zip(test.sources, test.references[0], strict=True)]
        found |= likelihood_of(opened, model, pairs, test.tag)
    if "comet" in metrics:
        found["comet"] = comet(test.sources, hypotheses, test.references[0])
    text_metrics = [metric for metric in metrics if metric not in BEYOND_TEXT]
    found |= score(text_metrics, hypotheses, test.references, test.language)
    counts = counted(hypotheses, test.references, test.sources)
    warnings = [*notes_of(found), *suspicions(hypotheses, test.references)]
    first = test.references[0]
    slices = {"source words": by_length(test.sources)}
    if (seen := learned_words(opened)) is not None:
        slices["rarest word, times seen"] = by_rarity(first, seen)
    if len({*test.parts}) > 1:
        slices["part"] = by_part(test.parts)
    if (learned := learned_lines(opened, test.sources, first)) is not None:
        counts["learned"] = learned.targets
        if learned:
            warnings.append(str(learned))
    return Judged(
        {metric: found[metric] for metric in metrics},
        counts,
        distinct(hypotheses),
        warnings,
        slices,
        {"source": test.sources, "reference": first, "hypothesis": hypotheses},
    )


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
    hypothesis: Path,
    references: Sequence[Path],
    metrics: Sequence[str] = (),
    language: str | None = None,
) -> Judged:
    """The scores of a file of hypotheses, without a model; it says what seems to be wrong.

    Their language is that of the files' names unless it is given.
    """
    if unfit := BEYOND_TEXT & {*metrics}:
        raise ConfigError(
            f"--metrics: {min(unfit)} needs a model or sources, and --hypothesis has none"
        )
    files = [File(path=str(path)) for path in (hypothesis, *references)]
    for file in files:
        locate(file, remedy="name another file")
    hypotheses, *others = (
        list(read_lines(file, format_of(file.path, pairs=False))) for file in files
    )
    chosen = metrics or [one for one in Evaluation().metrics if one not in BEYOND_TEXT]
    scores = score(chosen, hypotheses, others, language or language_of([*references, hypothesis]))
    judged = Judged(
        scores,
        counted(hypotheses, others),
        distinct(hypotheses),
        [*notes_of(scores), *suspicions(hypotheses, others)],
        {"reference words": by_length(others[0])},
        {"reference": others[0], "hypothesis": hypotheses},
    )
    warn(hypothesis.name, judged)
    return judged
