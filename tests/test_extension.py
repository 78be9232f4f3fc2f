"""Laws of a longer vocabulary: old pieces keep their numbers, new ones begin as what they were."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seq2seq.config import Tokenizer as Options
from seq2seq.config import load
from seq2seq.config.changing import changed
from seq2seq.data.extension import before, extend, extended, unknown
from seq2seq.data.tokenizer import UNK, Tokenizer, Tokenizers, train_tokenizer
from seq2seq.errors import UserError
from seq2seq.models import build
from seq2seq.origins import take_weights
from seq2seq.runs import open_model

TEXT = ["ein kleiner Hund läuft", "der Hund sieht einen kleinen Ball", "läuft der Ball?"] * 3
NEW = ["Жук und žába"]
FLAWED = [*TEXT, "der ☃ Hund <bt>"]  # with what stays unknown


def trained(kind: str, byte_fallback: bool = False) -> Tokenizer:
    size = 300 if byte_fallback else {"word": 12}.get(kind, 30)
    return train_tokenizer(
        TEXT, Options(kind=kind, vocab_size=size, byte_fallback=byte_fallback), 1, at_most=True
    )


@pytest.fixture(params=["unigram", "bpe", "char", "word"])
def old(request) -> Tokenizer:
    return trained(request.param)


def test_pieces_keep_their_numbers_and_old_text_its_pieces(old):
    new = extended(old, ["<bt>", "<" + "long" * 50 + ">"], ["Ж", "ž"])
    assert len(new) == len(old) + 4
    numbers = range(len(old))
    assert new.pieces(numbers) == old.pieces(numbers)
    assert new.encode(FLAWED) == old.encode(FLAWED)
    assert new.decode(new.encode(TEXT)) == old.decode(old.encode(TEXT))
    assert Tokenizer(new.model).encode(TEXT) == new.encode(TEXT)


def test_a_new_tag_never_comes_from_text(old):
    new = extended(old, ["<bt>"], [])
    assert new.tag("<bt>") == len(old)
    assert len(old) not in {token for ids in new.encode(FLAWED) for token in ids}


@pytest.mark.parametrize("spelt", [False, True])
@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
def test_characters_that_were_unknown_or_spelt_in_bytes_are_pieces(kind, spelt):
    old = trained(kind, spelt)
    assert any(UNK in ids for ids in old.encode(NEW)) != spelt
    both = extend(
        Tokenizers(old, old), lambda sides: NEW, Options(character_coverage=1.0), ["<bt>"]
    )
    assert both.source is both.target
    assert both.source.decode(both.source.encode(NEW)) == NEW
    pieces = both.source.pieces(both.source.encode(NEW)[0])
    assert "".join(pieces).replace("\u2581", " ").strip() == NEW[0]  # neither bytes nor unknown
    for alpha in (0.1, 0.9):
        assert not any(UNK in ids for ids in both.source.sample(NEW, alpha, 1))
    again = extend(both, lambda sides: NEW, Options(character_coverage=1.0), ["<bt>"])
    assert again.fingerprint == both.fingerprint


def test_each_side_gets_what_it_lacks():
    both = Tokenizers(trained("bpe"), trained("char"))
    sides = [["Ж"], ["ž"]]
    options = Options(character_coverage=1.0, shared=False)
    found = extend(both, lambda some: sides[some][0], options, ["<bt>"])
    assert found.source.pieces(range(len(both.source), len(found.source))) == ["<bt>", "Ж"]
    assert found.target.pieces(range(len(both.target), len(found.target))) == ["ž"]


def test_rare_characters_stay_unknown():
    old = trained("char")
    lines = ["Ж" * 98 + "ž☃"]
    assert unknown([old], lines, 0.98) == ["Ж"]
    assert unknown([old], lines, 1.0) == ["Ж", "ž", "☃"]


def test_words_need_no_characters():
    old = trained("word")
    both = extend(Tokenizers(old, old), lambda sides: NEW, Options(kind="word"), ["<bt>"])
    assert both.source.pieces(range(len(old), len(both.source))) == ["<bt>"]


def test_an_old_model_says_of_old_text_what_it_said(own):
    opened = open_model(Path("runs/toy"))
    longer = Tokenizers(*[extended(opened.tokenizers.source, ["<zwei>"], ["Ж"])] * 2)
    told = {"init_from": "runs/toy", "extend_vocab": True}
    config = changed(opened.config, "training", told)
    models = []
    for tokenizers in (opened.tokenizers, longer):
        models.append(build(config, *map(len, tokenizers)).eval())
        take_weights(models[-1], config, tokenizers)
    source, target = (
        torch.tensor(opened.tokenizers.source.encode([line])) for line in ("1 2", "ei")
    )
    with torch.no_grad():
        short, long = (model.project(model(source, target)) for model in models)
    old = len(opened.tokenizers.source)
    torch.testing.assert_close(long[..., :old], short, rtol=1e-6, atol=1e-6)
    table = dict(models[1].named_parameters())["embeddings.source.weight"]
    ids = opened.tokenizers.source.encode(["<zwei>"])[0]
    assert len(ids) > 3
    torch.testing.assert_close(table[old], table[ids].mean(dim=0))
    assert next(before(opened.tokenizers.source, longer.source)) == ids


def test_a_training_adds_what_its_text_needs(own, command):
    text = Path("train.digits").read_text(encoding="utf-8").replace("7", "Ж")
    Path("new.digits").write_text(text, encoding="utf-8")
    data = "data.train=[{source: new.digits, target: train.de, tag: <ru>}]"
    sets = [data, "name=new", "data.prepared=new", "training.init_from=runs/toy"]
    sets += ["training.average=0", "tokenizer.character_coverage=1.0"]
    options = [f"--set={one}" for one in sets]
    refused = command("train", "toy.yaml", *options)
    assert refused.code != 0
    options[-1] = "--set=training.extend_vocab=true"
    for updates in (20, 60):
        result = command("train", "toy.yaml", *options, f"--set=training.max_updates={updates}")
        assert result.code == 0, result.err
    assert command("train", "toy.yaml", *options, "--set=name=never").code == 0
    last = "checkpoints/step-00000060/model.safetensors"
    never, stopped = (load_file(f"runs/{run}/{last}") for run in ("never", "new"))
    assert all(torch.equal(never[name], stopped[name]) for name in never)
    found = open_model(Path("runs/new")).tokenizers.source
    base = open_model(Path("runs/toy")).tokenizers.source
    assert found.pieces(range(len(base), len(found))) == ["<ru>", "Ж"]
    said = command("translate", "--model=runs/new", "--tag=<ru>", stdin="1 Ж\n".encode())
    assert said.code == 0, said.err


def test_without_it_a_tag_that_the_model_lacks_is_refused(own):
    opened = open_model(Path("runs/toy"))
    with pytest.raises(UserError, match="<ru> is no tag of this model"):
        opened.tokenizers.encode([["1"], ["eins"]], "<ru>")
    assert not load(Path("toy.yaml")).training.extend_vocab


def test_a_preview_shows_the_pieces_of_the_model_that_training_starts_from(own, command):
    Path("new.txt").write_text("Жук eins\n", encoding="utf-8")
    text = Path("toy.yaml").read_text(encoding="utf-8")
    Path("next.yaml").write_text(
        re.sub(
            r"train: .*", "train: [{source: new.txt, target: new.txt, tag: <bt>}]", text
        ).replace("prepared: prepared", "prepared: p9"),
        encoding="utf-8",
    )

    def pieces(*more: str) -> tuple[str, str]:
        words = ["--set", "training.init_from=runs/toy", *more]
        result = command("prepare", "next.yaml", "--dry-run", "1", *words)
        assert result.code == 0, result.err
        return result.out.decode(), result.err

    shown, said = pieces("--set", "data.train.0.tag=null")
    assert "pieces are those of runs/toy" in said
    assert "<0xD0>" in shown or "<unk>" in shown
    shown, said = pieces("--set", "training.extend_vocab=true")
    assert "for this preview alone" in said
    assert re.search(r"pieces  <bt> .*Ж", shown), shown
