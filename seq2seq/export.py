"""`seq2seq export`: a model for other programs, checked against our own numbers on the spot.

ctranslate2    a folder that the library CTranslate2 serves, without anything of ours
onnx           graphs of the encoder and of a step of the decoder, for ONNX Runtime and its kin
safetensors    a model folder of its own, out of its run
"""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from seq2seq.config import dump, load, why_not_ctranslate2
from seq2seq.console import say
from seq2seq.data.store import Side, Store
from seq2seq.data.tokenizer import BOS, EOS, OLD_FILE, PAD, SIDE_FILES, Tokenizers
from seq2seq.decoding import ctranslate2
from seq2seq.decoding.choice import why_not_length
from seq2seq.decoding.conversions import ORIGIN, origin
from seq2seq.decoding.forced import judge
from seq2seq.decoding.translator import SPARE_LENGTH
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import check_replaceable, new_folder, read_manifest, write_json, write_manifest
from seq2seq.layout import BASE, CONFIG, WEIGHTS
from seq2seq.models import Seq2Seq, onnx
from seq2seq.models.conversion import convert
from seq2seq.models.folder import load_model, weights_of
from seq2seq.models.transformer import Transformer
from seq2seq.regular import open_regular
from seq2seq.runs import Opened, open_model

CHECKED = 8  # pairs
LONGEST = 30  # pieces of a side of them
CLOSE = 1e-3  # nats a piece: more than rounding can do

CTRANSLATE2_README = """\
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
A model that turns {source} into {target}, for ONNX Runtime:

    pip install onnxruntime sentencepiece

In this folder, this translates lines, taking the likeliest piece at each step:

    import sys, numpy, onnxruntime, sentencepiece

    source = sentencepiece.SentencePieceProcessor("{source_file}")
    target = sentencepiece.SentencePieceProcessor("{target_file}")
    encoder, decoder = map(onnxruntime.InferenceSession, ("encoder.onnx", "decoder.onnx"))
    encoded = [output.name for output in encoder.get_outputs()]
    after = [output.name.replace("after.", "state.") for output in decoder.get_outputs()]
    for line in sys.stdin:
        ids, written, last = source.encode(line.strip())[:{longest}], [], {bos}
        known = encoder.run(None, {{"source": numpy.array([[*ids, {eos}]])}})
        inputs = dict(zip(encoded, known))
        for _ in range(min(int({ratio} * len(ids)) + {spare}, {longest}) if ids else 0):
            inputs["last_tokens"] = numpy.array([last])
            found, *state = decoder.run(None, inputs)
            inputs.update(zip(after[1:], state))
            last = {eos} + int(found[0, {eos}:].argmax())  # those before are never written
            if last == {eos}:
                break
            written.append(last)
        print(target.decode(written))

Of a line, the first {longest} pieces are translated. Both graphs take many sentences at once, as
rows of ids that end in {eos} and are filled up with {pad}; the decoder takes several hypotheses of
each, side by side: repeat the rows of last_tokens and state.*, not those of encoded.*.
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
    check_replaceable(output, replace=False)
    opened = open_model(named)
    if reason := why_not(to, opened):
        raise UserError(f"{opened.folder} cannot be exported to {NAMES[to]}: {reason}")
    model = load_model(opened.folder, opened.config, opened.tokenizers, torch.device("cpu"))
    pairs = random_pairs(opened.tokenizers, min(LONGEST, opened.config.data.max_length))
    with new_folder(output, replace=False) as folder:
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
    if to == "ctranslate2":
        config = opened.config
        return (
            why_not_ctranslate2(config.model)
            or why_not_length(config)
            or ctranslate2.why_not_here()
        )
    return onnx.why_not_here() if to == "onnx" else None


def to_ctranslate2(
    opened: Opened, model: Seq2Seq, folder: Path, pairs: Pairs
) -> list[Sequence[float]]:
    """Fills a folder for CTranslate2; the log-probabilities by which it judges pairs."""
    assert isinstance(model, Transformer)
    convert(model, opened.tokenizers, opened.config.data.max_length, folder)
    write_around(opened, folder, CTRANSLATE2_README)
    write_json(folder / ORIGIN, origin(opened.folder, opened.config, opened.tokenizers))
    write_manifest(folder)

    translator = ctranslate2.translator(folder, compute_type="float32", processors=1, workers=1)
    sides = [
        [tokenizer.pieces(ids) for ids in side]
        for tokenizer, side in zip(opened.tokenizers, pairs, strict=True)
    ]
    return [one.log_probs for one in translator.score_batch(*sides, max_input_length=0)]


def to_onnx(opened: Opened, model: Seq2Seq, folder: Path, pairs: Pairs) -> list[Sequence[float]]:
    """Fills a folder for ONNX Runtime; the log-probabilities by which it judges pairs."""
    onnx.write_graphs(model, folder)
    write_around(opened, folder, ONNX_README)
    write_manifest(folder)
    graphs = onnx.Graphs(folder)
    return [graphs.judge(*pair) for pair in zip(*pairs, strict=True)]


def write_around(opened: Opened, folder: Path, readme: str) -> None:
    """Writes what a folder needs beside the model: tokenizers, the config, and how to use it."""
    data, decoding = opened.config.data, opened.config.decoding
    write_tokenizers(opened, folder)
    text = readme.format(
        source=data.source,
        target=data.target,
        source_file=SIDE_FILES[0],
        target_file=SIDE_FILES[1],
        beam=decoding.beam,
        longest=data.max_length,
        ratio=decoding.max_length_ratio,
        spare=SPARE_LENGTH,
        pad=PAD,
        bos=BOS,
        eos=EOS,
    )
    if data.normalize:
        text += f"Lines were normalized before: {', '.join(data.normalize)}.\n"
    (folder / "README.txt").write_text(text, encoding="utf-8")


def write_tokenizers(opened: Opened, folder: Path) -> None:
    """Writes the file of each side, of models that have one for both, too."""
    for name, content in opened.tokenizers.files.items():
        (folder / name).write_bytes(content)


def to_safetensors(
    opened: Opened, model: Seq2Seq, folder: Path, pairs: Pairs
) -> list[Sequence[float]]:
    """Fills a folder with a model's files; the log-probabilities by which it judges pairs."""
    from safetensors.torch import save

    files = read_manifest(opened.folder)  # of nothing but a model: this was checked
    for name in files.keys() - {BASE, OLD_FILE, *SIDE_FILES}:
        with open_regular(opened.folder / name) as file, open(folder / name, "xb") as copy:
            shutil.copyfileobj(file, copy)
    # an older model's config may have secrets in its URLs
    (folder / CONFIG).write_text(dump(load(opened.folder / CONFIG)), encoding="utf-8")
    write_tokenizers(opened, folder)
    if BASE in files:  # what was copied are adapters
        (folder / WEIGHTS).write_bytes(save(weights_of(model)))
    write_manifest(folder)
    copied = open_model(folder)
    return ours(load_model(folder, copied.config, copied.tokenizers, torch.device("cpu")), pairs)


FORMATS = {"ctranslate2": to_ctranslate2, "onnx": to_onnx, "safetensors": to_safetensors}
NAMES = {"ctranslate2": "CTranslate2", "onnx": "ONNX"}  # of those that may refuse a model


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
