"""`seq2seq export`: a model for other programs, checked against our own numbers on the spot.

ctranslate2    a folder that the library CTranslate2 serves, without anything of ours
onnx           graphs for ONNX Runtime, with a program of few lines that translates by them
safetensors    a model folder of its own, out of its run
"""

import json
import random
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from seq2seq.config import why_not_exported
from seq2seq.console import say
from seq2seq.data.store import Side, Store
from seq2seq.data.tokenizer import BOS, EOS, Tokenizers
from seq2seq.decoding import ctranslate2
from seq2seq.decoding.choice import ORIGIN, origin
from seq2seq.decoding.forced import judge
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import MANIFEST, new_folder, write_json, write_manifest
from seq2seq.layout import BASE, WEIGHTS
from seq2seq.models import Seq2Seq, onnx
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


ONNX_README = """\
A model that turns {source} into {target}, as ONNX graphs:

    pip install onnxruntime sentencepiece numpy

In this folder, this translates a line, choosing the likeliest piece at each step:

    import numpy, onnxruntime, sentencepiece

    source = sentencepiece.SentencePieceProcessor("{source_file}")
    target = sentencepiece.SentencePieceProcessor("{target_file}")
    encoder = onnxruntime.InferenceSession("encoder.onnx")
    decoder = onnxruntime.InferenceSession("decoder.onnx")

    ids = numpy.array([source.encode(input()) + [{eos}]])
    names = [output.name for output in encoder.get_outputs()]
    inputs = dict(zip(names, encoder.run(None, {{"source": ids}})))
    for past in decoder.get_inputs():
        if past.name.startswith("past."):  # one sentence, of which nothing is written yet
            shape = [size if isinstance(size, int) else 0 for size in past.shape]
            inputs[past.name] = numpy.zeros([1, *shape[1:]], numpy.float32)
    known = [name.name for name in decoder.get_inputs()]
    written = [{bos}]
    for _ in range(min({longest}, int({ratio} * ids.shape[1]) + 10)):
        inputs["last"] = numpy.array(written[-1:])
        found, *present = decoder.run(None, {{name: inputs[name] for name in known}})
        written.append(int(found[0].argmax()))
        if written[-1] == {eos}:
            break
        for output, value in zip(decoder.get_outputs()[1:], present):
            inputs[output.name.replace("present.", "past.")] = value
    print(target.decode([piece for piece in written[1:] if piece != {eos}]))

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
        raise ConfigError(f"--to: must be one of {', '.join(FORMATS)}, not {to}")
    if output.exists():
        raise UserError(f"{output} exists; give --output a name that is still free")
    opened = open_model(named)
    if reason := why_not(to, opened):
        raise UserError(f"{opened.folder} cannot be exported to {to}: {reason}")
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


def why_not(to: str, opened: Opened) -> str | None:
    """Why a model cannot be exported to a format, in words; None if it can."""
    here = {"ctranslate2": ctranslate2.why_not_here, "onnx": onnx.why_not_here}
    if to not in here:
        return None
    return why_not_exported(to, opened.config.model) or here[to]()


def to_ctranslate2(
    opened: Opened, model: Seq2Seq, folder: Path, pairs: Pairs
) -> list[Sequence[float]]:
    """Fills a folder for CTranslate2; the log-probabilities by which it judges pairs."""
    assert isinstance(model, Transformer)
    tokenizers, data = opened.tokenizers, opened.config.data
    convert(model, tokenizers, data.max_length, folder)
    write_around(opened, folder, README)
    write_json(folder / ORIGIN, origin(opened.folder))
    write_manifest(folder)

    opened_by_it = ctranslate2.translator(folder, compute_type="float32", processors=1, workers=1)
    sides = [
        [tokenizer.pieces(ids) for ids in side]
        for tokenizer, side in zip(tokenizers, pairs, strict=True)
    ]
    return [one.log_probs for one in opened_by_it.score_batch(*sides, max_input_length=0)]


def to_onnx(opened: Opened, model: Seq2Seq, folder: Path, pairs: Pairs) -> list[Sequence[float]]:
    """Fills a folder with graphs; the log-probabilities by which ONNX Runtime judges pairs."""
    import onnxruntime

    onnx.write_graphs(model, folder)
    write_around(opened, folder, ONNX_README)
    write_manifest(folder)

    encoder, decoder = (
        onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        for name in (onnx.ENCODER, onnx.DECODER)
    )
    return [judge_by_graphs(encoder, decoder, *pair) for pair in zip(*pairs, strict=True)]


def judge_by_graphs(
    encoder: Any, decoder: Any, source: Sequence[int], target: Sequence[int]
) -> list[float]:
    """The log-probabilities of a target's pieces and of its end, by sessions of ONNX Runtime."""
    encoded_names = [output.name for output in encoder.get_outputs()]
    names = [one.name for one in decoder.get_inputs()]
    encoded = encoder.run(None, {"source": np.array([[*source, EOS]])})
    inputs = dict(zip(encoded_names, encoded, strict=True))
    for past in decoder.get_inputs():
        if past.name.startswith("past."):  # one sentence, of which nothing is written yet
            sizes = [size if isinstance(size, int) else 0 for size in past.shape[1:]]
            inputs[past.name] = np.zeros([1, *sizes], np.float32)
    judged = []
    for last, following in pairwise([BOS, *target, EOS]):
        inputs["last"] = np.array([last])
        log_probabilities, *present = decoder.run(None, {name: inputs[name] for name in names})
        judged.append(float(log_probabilities[0, following]))
        after = (one.name.replace("present.", "past.") for one in decoder.get_outputs()[1:])
        inputs |= dict(zip(after, present, strict=True))
    return judged


def write_around(opened: Opened, folder: Path, readme: str) -> None:
    """Writes a model's tokenizer and a README, so that a folder needs nothing of ours."""
    tokenizers, data = opened.tokenizers, opened.config.data
    for name, content in tokenizers.files.items():
        (folder / name).write_bytes(content)
    names = list(tokenizers.files)
    text = readme.format(
        source=data.source,
        target=data.target,
        source_file=names[0],
        target_file=names[-1],
        beam=opened.config.decoding.beam,
        ratio=opened.config.decoding.max_length_ratio,
        longest=data.max_length,
        bos=BOS,
        eos=EOS,
    )
    if data.normalize:
        text += f"Lines were normalized before: {', '.join(data.normalize)}.\n"
    (folder / "README.txt").write_text(text, encoding="utf-8")


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


FORMATS = {"ctranslate2": to_ctranslate2, "onnx": to_onnx, "safetensors": to_safetensors}


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
