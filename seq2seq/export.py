"""`seq2seq export`: a model for other programs, checked against our own numbers on the spot.

ctranslate2    a folder that the library CTranslate2 serves, without anything of ours
safetensors    a model folder of its own, out of its run
"""

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from seq2seq.config import why_not_ctranslate2
from seq2seq.console import say
from seq2seq.data.store import Side, Store
from seq2seq.data.tokenizer import EOS, Tokenizers
from seq2seq.decoding.choice import ORIGIN, origin
from seq2seq.decoding.ctranslate2 import translator, why_not_here
from seq2seq.decoding.forced import judge
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import MANIFEST, new_folder, write_json, write_manifest
from seq2seq.layout import BASE, WEIGHTS
from seq2seq.models import Seq2Seq
from seq2seq.models.conversion import convert
from seq2seq.models.folder import load_model, weights_of
from seq2seq.models.transformer import Transformer
from seq2seq.runs import Opened, open_model

CHECKED = 8  # pairs
LONGEST = 30  # pieces of a side of them
CLOSE = 1e-3  # nats a piece: more than rounding can do

README = """\
A model that turns {source} into {target}, for CTranslate2:

    pip install ctranslate2 sentencepiece

In this folder, this translates a line:

    import ctranslate2, sentencepiece

    source = sentencepiece.SentencePieceProcessor("{source_file}")
    target = sentencepiece.SentencePieceProcessor("{target_file}")
    translator = ctranslate2.Translator(".")
    pieces = source.encode(input(), out_type=str)
    found = translator.translate_batch([pieces], beam_size={beam})
    print(target.decode(found[0].hypotheses[0]))

A line may have at most {longest} pieces.
"""


class Pairs(NamedTuple):
    """Sources and targets to compare a model with itself on, as pieces without </s>."""

    sources: list[list[int]]
    targets: list[list[int]]


def export(named: Path | None, to: str, output: Path) -> None:
    """Writes the model of a folder or of the newest run for another program, as a new folder.

    Raises a UserError with the reason if the model cannot be exported so, or if what the other
    program makes of it is not what we do; nothing is left then.
    """
    if to not in FORMATS:
        raise ConfigError(f"--to: must be {' or '.join(FORMATS)}, not {to}")
    if output.exists():
        raise UserError(f"{output} exists; give --output a name that is still free")
    opened = open_model(named)
    reason = why_not_ctranslate2(opened.config.model) or why_not_here()
    if to == "ctranslate2" and reason:
        raise UserError(f"{opened.folder} cannot be exported to CTranslate2: {reason}")
    model = load_model(opened.folder, opened.config, opened.tokenizers, torch.device("cpu"))
    pairs = random_pairs(opened.tokenizers, min(LONGEST, opened.config.data.max_length))
    with new_folder(output) as folder:
        found = FORMATS[to](opened, model, folder, pairs)
        far = furthest(found, ours(model, pairs))
        if not far < CLOSE:
            raise UserError(
                f"{opened.folder} was not exported: log-probabilities would be wrong by {far:.2g}; "
                "update the library that it is for, and tell us if that does not help"
            )
    say(f"{output} is {opened.folder} for {to}; log-probabilities differ by {far:.1g} at most")


def to_ctranslate2(
    opened: Opened, model: Seq2Seq, folder: Path, pairs: Pairs
) -> list[Sequence[float]]:
    """Fills a folder for CTranslate2; the log-probabilities by which it judges pairs."""
    assert isinstance(model, Transformer)
    tokenizers, data = opened.tokenizers, opened.config.data
    convert(model, tokenizers, data.max_length, folder)
    for name, content in tokenizers.files.items():
        (folder / name).write_bytes(content)
    names = list(tokenizers.files)
    text = README.format(
        source=data.source,
        target=data.target,
        source_file=names[0],
        target_file=names[-1],
        beam=opened.config.decoding.beam,
        longest=data.max_length,
    )
    if data.normalize:
        text += f"Lines were normalized before: {', '.join(data.normalize)}.\n"
    (folder / "README.txt").write_text(text, encoding="utf-8")
    write_json(folder / ORIGIN, origin(opened.folder))
    write_manifest(folder)

    opened_by_it = translator(folder, compute_type="float32", processors=1, workers=1)
    sides = [
        [tokenizer.pieces(ids) for ids in side]
        for tokenizer, side in zip(tokenizers, pairs, strict=True)
    ]
    return [one.log_probs for one in opened_by_it.score_batch(*sides, max_input_length=0)]


def to_safetensors(
    opened: Opened, model: Seq2Seq, folder: Path, pairs: Pairs
) -> list[Sequence[float]]:
    """Fills a folder with a model's files; the log-probabilities by which it judges pairs."""
    from safetensors.torch import save

    for name in json.loads((opened.folder / MANIFEST).read_text(encoding="utf-8")):
        if name != BASE:
            shutil.copyfile(opened.folder / name, folder / name)
    if (opened.folder / BASE).exists():  # what was copied are adapters
        (folder / WEIGHTS).write_bytes(save(weights_of(model)))
    write_manifest(folder)
    copied = open_model(folder)
    return ours(load_model(folder, copied.config, copied.tokenizers, torch.device("cpu")), pairs)


FORMATS = {"ctranslate2": to_ctranslate2, "safetensors": to_safetensors}


def random_pairs(tokenizers: Tokenizers, longest: int) -> Pairs:
    """Pairs of random pieces, the same every time; no text has to be at hand."""
    numbers = random.Random(1)

    def side(vocab: int) -> list[list[int]]:
        return [
            [numbers.randrange(EOS + 1, vocab) for _ in range(numbers.randint(1, longest))]
            for _ in range(CHECKED)
        ]

    return Pairs(*(side(len(tokenizer)) for tokenizer in tokenizers))


def ours(model: Seq2Seq, pairs: Pairs) -> list[Sequence[float]]:
    """The log-probabilities by which our own model judges pairs."""
    judged = judge(model, Store(*map(Side.of, pairs)), batch_tokens=4096)
    return [one.log_probabilities.tolist() for one in judged]


def furthest(found: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> float:
    """The largest difference between numbers; infinite if there are not as many, or none at all."""
    if [len(one) for one in found] != [len(one) for one in expected]:
        return float("inf")
    return float(np.abs(np.concatenate(found) - np.concatenate(expected)).max())
