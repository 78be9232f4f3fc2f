"""Laws of objectives: what noise leaves, how much it takes, and what a draw depends on."""

import itertools
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from seq2seq.config import Config
from seq2seq.config import Tokenizer as TokenizerOptions
from seq2seq.config.objectives import MASK, SENTINELS, TASKS, Objective, Task
from seq2seq.data.batches import Batches
from seq2seq.data.objectives import Objectives, Pair, infilled, maker, parts_of
from seq2seq.data.store import Store
from seq2seq.data.tokenizer import Tokenizer, Tokenizers, train_tokenizer

OPTIONS = TokenizerOptions(kind="char", vocab_size=300, byte_fallback=False)
LINES = ["abcdefgh. ijklmnop! qrstuvwxyz? "]
TOKENIZER: Tokenizer = train_tokenizer(LINES, OPTIONS, 1, tags=["<2x>", MASK, *SENTINELS])
BOTH = Tokenizers(TOKENIZER, TOKENIZER)
HIDDEN = TOKENIZER.tag(MASK)
TEXT = TOKENIZER.encode(["abcdefgh. ijklmnop! qrstuvwxyz? abc"])[0]
NOISY = [name for name in TASKS if name != "translation"]


def task(name: str, **options: object) -> Task:
    return TypeAdapter(Objective).validate_python({"task": name, **options})


def make(text: list[int], name: str, seed: int = 1, **options: object):
    made = maker(task(name, **options), BOTH)
    assert made is not None
    return made(Pair(text, text), np.random.default_rng(seed))


def contains(long: list[int], short: list[int]) -> bool:
    """Whether the elements of one stand in the other, in order."""
    rest = iter(long)
    return all(one in rest for one in short)


@pytest.mark.parametrize("size", [0, 1, 2, 3, len(TEXT)])
@pytest.mark.parametrize("name", NOISY)
def test_what_is_left_is_of_the_text_and_the_target_is_what_is_to_be_said(name, size):
    text = TEXT[:size]
    for seed in range(30):
        found = make(text, name, seed)
        if name in ("spans", "masked_language_modelling"):
            continue
        assert found.target == text
        left = [piece for piece in found.source if piece != HIDDEN]
        if name == "permutation":
            assert Counter(left) == Counter(text)
        else:
            assert contains(text, left)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_the_share_that_is_asked_for_is_taken_on_average(share):
    def gone(name: str, option: str, **more: float) -> float:
        found = [make(TEXT, name, seed, **{option: share}, **more).source for seed in range(600)]
        left = [sum(piece != HIDDEN for piece in one) for one in found]
        return 1 - float(np.mean(left)) / len(TEXT)

    assert gone("masking", "mask_ratio") == pytest.approx(share, abs=0.01)
    assert gone("deletion", "delete_ratio") == pytest.approx(share, abs=0.01)
    assert gone("infilling", "mask_ratio") == pytest.approx(share, abs=0.02)


def test_masking_keeps_places_and_deletion_does_not():
    source = make(TEXT, "masking").source
    assert [one for one in zip(source, TEXT, strict=True) if one[0] not in (HIDDEN, one[1])] == []
    assert HIDDEN not in make(TEXT, "deletion").source


def test_spans_have_the_lengths_that_poisson_gives_and_one_mask_each():
    """Compared with the lengths that were drawn: what is missing between what is left."""
    lengths: Counter[int] = Counter()
    text = list(range(1000, 3000))  # all different, so that each tells its place
    for seed in range(40):
        found = infilled(text, task("infilling"), HIDDEN, np.random.default_rng(seed))
        assert (HIDDEN, HIDDEN) not in itertools.pairwise(found)
        before = 999
        for place, piece in enumerate(found):
            if piece == HIDDEN:
                after = found[place + 1] if place + 1 < len(found) else 3000
                lengths[after - before - 1] += 1
            else:
                before = piece
    total = sum(lengths.values())
    assert sum(size * count for size, count in lengths.items()) / total == pytest.approx(3, abs=0.1)
    for size, probability in enumerate([0.0498, 0.1494, 0.2240, 0.2240, 0.1680]):  # of Poisson(3)
        assert lengths[size] / total == pytest.approx(probability, abs=0.02)


def test_a_span_of_no_length_is_an_insertion():
    source = make(TEXT, "infilling", poisson_lambda=0.0).source
    assert [piece for piece in source if piece != HIDDEN] == TEXT
    assert source.count(HIDDEN) == pytest.approx(0.3 * len(TEXT), abs=1)


def test_sentences_change_places_and_stay_whole():
    sentences = {"abcdefgh.", "ijklmnop!", "qrstuvwxyz?", "abc"}
    orders = set()
    for seed in range(200):
        (line,) = TOKENIZER.decode([make(TEXT, "permutation", seed).source])
        assert {*line.split()} == sentences
        orders.add(line)
    assert len(orders) == 24
    (line,) = TOKENIZER.decode([make(TEXT, "infilling", 3, permute_sentences=True).source])
    assert line.split()[0][0] != "a" or "abcdefgh" not in line


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(TEXT), 700])
def test_source_and_target_of_spans_together_are_the_text(size):
    text = (TEXT * 30)[:size]
    names = [TOKENIZER.tag(name) for name in SENTINELS]
    for seed in range(20):
        source, target, _ = make(text, "spans", seed)
        assert target[-1] in names
        spans = {}
        for piece in target:
            if piece in names:
                spans[piece] = current = []
            else:
                current.append(piece)
        assert spans.pop(target[-1]) == []
        assert [one for one in source if one in names] == [*spans] == names[: len(spans)]
        rebuilt = [part for piece in source for part in spans.get(piece, [piece])]
        assert rebuilt == text
        missing = sum(map(len, spans.values()))
        assert missing == min(max(round(0.15 * size), 1), max(size - 1, 1))
        assert all(spans.values())


def test_any_piece_may_be_missing_in_spans():
    missing = set()
    for seed in range(400):
        source = make([*range(1000, 1020)], "spans", seed).source
        missing |= {*range(1000, 1020)} - {*source}
    assert missing == {*range(1000, 1020)}


def test_parts_are_as_many_as_asked_for_and_every_way_comes():
    found = Counter(tuple(parts_of(5, 3, np.random.default_rng(seed))) for seed in range(600))
    every = {one for one in itertools.product(range(1, 5), repeat=3) if sum(one) == 5}
    assert {*found} == every
    assert min(found.values()) > 60


def test_language_modelling_reads_nothing():
    assert make(TEXT, "language_modelling") == ([], TEXT, ())


# Masked language modelling


def told(size: int, seed: int, **options: float) -> Pair:
    """Of a text all of whose pieces differ, so that each tells its place."""
    return make([*range(1000, 1000 + size)], "masked_language_modelling", seed, **options)


@pytest.mark.parametrize("size", [1, 2, 3, 30, 200])
def test_what_the_encoder_must_tell_is_what_stood_there(size):
    for seed in range(30):
        text = [*range(1000, 1000 + size)]
        source, target, masked = told(size, seed)
        assert target == []
        assert len(source) == len(masked) == size
        assert any(masked)
        assert all(piece in (0, true) for piece, true in zip(masked, text, strict=True))
        changed = [place for place in range(size) if source[place] != text[place]]
        assert all(masked[place] for place in changed)


def test_of_nothing_the_end_must_be_told():
    assert make([], "masked_language_modelling") == ([], [], [3])


@pytest.mark.parametrize(("random", "keep"), [(0.1, 0.1), (0.0, 0.0), (0.5, 0.5), (0.2, 0.6)])
def test_as_many_are_masked_replaced_and_kept_as_asked_for(random, keep):
    fates: Counter[str] = Counter()
    for seed in range(300):
        source, _, masked = told(200, seed, mask_ratio=0.2, random_ratio=random, keep_ratio=keep)
        for piece, true in zip(source, masked, strict=True):
            if true:
                masks, same = piece == HIDDEN, piece == true
                fates["mask" if masks else "keep" if same else "random"] += 1
                assert masks or same or piece in TOKENIZER.ordinary
    told_of = sum(fates.values())
    assert told_of / (300 * 200) == pytest.approx(0.2, abs=0.01)
    assert fates["random"] / told_of == pytest.approx(random, abs=0.015)
    assert fates["keep"] / told_of == pytest.approx(keep, abs=0.015)


def test_a_random_piece_is_none_that_has_a_meaning_of_its_own():
    pieces = TOKENIZER.pieces(TOKENIZER.ordinary)
    assert not {"<mask>", "<2x>", "<s>", "</s>", "<unk>", "<pad>", *SENTINELS} & {*pieces}
    assert {*TEXT} <= {*TOKENIZER.ordinary}


def test_the_encoder_and_the_decoder_learn_from_one_batch():
    names = ("masked_language_modelling", "translation")
    found = objectives(*names)
    made = Batches(store(), 10**4, objectives=found).collate(np.array([0, 6, 1, 7]))
    assert made.masked is not None
    assert made.masked.shape == made.source.shape
    assert [bool(row.any()) for row in made.masked] == [True, False, True, False]
    assert [bool(row.any()) for row in made.target_out] == [False, True, False, True]
    assert (made.target_in[:, 0] == 2).all()
    said = (made.masked != 0).sum() + (made.target_out != 0).sum()
    assert made.target_tokens == said
    halves = [*made.halves()]
    assert sum(half.target_tokens for half in halves) == said
    plain = Batches(store(), 10**4, objectives=found).collate(np.array([7, 8]))
    assert plain.masked is None


# Corpora, one after the other


def store(count: int = 12) -> Store:
    texts = [TEXT[start : start + 20] for start in range(count)]
    return Store.of(texts, texts)


def objectives(*names: str, seed: int = 1) -> Objectives:
    return Objectives(BOTH, [task(name) for name in names], [12 // len(names)] * len(names), seed)


def batch(found: Objectives, pairs: list[int], epoch: int = 0) -> list[tuple[list[int], list[int]]]:
    made = Batches(store(), 10**4, objectives=found).collate(np.array(pairs), epoch)
    return [
        ([one for one in source if one], [one for one in target if one])
        for source, target in zip(made.source.tolist(), made.target_out.tolist(), strict=True)
    ]


def test_each_corpus_has_its_own_objective():
    found = batch(objectives("masking", "translation", "language_modelling"), [0, 3, 4, 7, 8, 11])
    plain = batch(objectives("translation"), [0, 3, 4, 7, 8, 11])
    assert [one == other for one, other in zip(found, plain, strict=True)] == [False] * 2 + [
        True
    ] * 2 + [False] * 2
    assert all(HIDDEN in source for source, _ in found[:2])
    assert all(len(source) == 1 for source, _ in found[4:])


@pytest.mark.parametrize("name", ["masking", "infilling", "spans", "deletion"])
def test_a_draw_depends_on_seed_epoch_and_pair_alone(name):
    whole = batch(objectives(name), [*range(12)], epoch=3)
    assert batch(objectives(name), [7, 2], epoch=3) == [whole[7], whole[2]]
    assert batch(objectives(name), [*range(12)], epoch=4) != whole
    assert batch(objectives(name, seed=2), [*range(12)], epoch=3) != whole


def test_a_tag_stays_in_front():
    tag = TOKENIZER.tag("<2x>")
    texts = [[tag, *TEXT[:9]]]
    for name in NOISY:
        made, masked = objectives(name)(Store.of(texts, [TEXT[:9]]), np.array([0]), 0)
        assert made.source.ids[0] == tag
        if len(masked.ids):
            assert masked.ids[0] == 0
            assert len(masked.ids) == len(made.source.ids)


def test_a_target_of_another_vocabulary_stays():
    """Sides with tokenizers of their own: noise is of the source, and no id goes to the other."""
    other = train_tokenizer(["abcdefgh."], OPTIONS, 1, tags=[])
    apart = Tokenizers(TOKENIZER, other)
    text = "abcdefgh."
    ids, others = TOKENIZER.encode([text])[0], other.encode([text])[0]
    assert ids != others
    for name in ("infilling", "masking", "deletion", "permutation", "language_modelling"):
        found = Objectives(apart, [task(name)], [1], 1)
        made = found(Store.of([ids], [others]), np.array([0]), 0).pairs
        assert made.target.ids.tolist() == others


def test_where_all_is_translation_nothing_is_done():
    assert objectives("translation", "translation").idle
    assert Batches(store(), 100, objectives=objectives("translation")).objectives is None


def test_a_run_learns_from_plain_text_and_its_tokenizer_has_the_pieces(own, command):
    text = Path("toy.yaml").read_text(encoding="utf-8")
    plain = "{source: train.de, target: train.de, objective: infilling}"
    text = text.replace("train: [", f"train: [{plain}, ").replace(
        "prepared: prepared", "prepared: p2"
    )
    Path("noisy.yaml").write_text(text, encoding="utf-8")
    result = command("train", "noisy.yaml", "--set", "training.max_updates=20")
    assert result.code == 0, result.err
    tokenizer = Tokenizer(Path("p2/tokenizer.source.model").read_bytes())
    assert tokenizer.is_tag(tokenizer.tag(MASK))
    again = command("train", "noisy.yaml", "--set", "training.max_updates=40")
    assert again.code == 0, again.err
    once = command("train", "noisy.yaml", "--set", "name=once", "--set", "training.max_updates=40")
    assert once.code == 0, once.err
    runs = [
        Path("runs", name, "checkpoints/step-00000040/model.safetensors")
        for name in ("noisy", "once")
    ]
    assert runs[0].read_bytes() == runs[1].read_bytes()


def test_each_objective_is_validated_apart(own, command):
    text = Path("toy.yaml").read_text(encoding="utf-8")
    gaps = "source: train.de, target: train.de, objective: masked_language_modelling"
    watched = f"gaps: {{{gaps}}}, again: {{source: valid.digits, target: valid.de}}"
    text = text.replace("train: [", f"train: [{{{gaps}}}, ").replace(
        "  prepared: prepared", f"  prepared: p3\n  watch: {{{watched}}}"
    )
    Path("apart.yaml").write_text(text, encoding="utf-8")
    options = ["--set", "training.metrics=[bleu, accuracy]", "--set", "training.max_updates=20"]
    result = command("train", "apart.yaml", *options)
    assert result.code == 0, result.err
    assert re.search(r"\n    gaps: ppl [\d.]+, accuracy [\d.]+\n", result.err), result.err
    records = [
        json.loads(line) for line in Path("runs/apart/metrics.jsonl").read_text().splitlines()
    ]
    last = [one for one in records if "valid" in one][-1]
    assert [*last["valid"]] == ["ppl", "accuracy", "bleu"]
    assert last["watch"]["again"] == last["valid"]  # the same pairs
    assert [*last["watch"]["gaps"]] == ["ppl", "accuracy"]
    assert json.loads(Path("runs/apart/best/scores.json").read_text())["watch"].keys() == {
        "gaps",
        "again",
    }
    # a set that is watched changes nothing, and may come and go
    alone = command(
        "train", "apart.yaml", *options, "--set", "name=alone", "--set", "data.watch={}"
    )
    assert alone.code == 0, alone.err
    weights = [
        Path("runs", name, "checkpoints/step-00000020/model.safetensors").read_bytes()
        for name in ("apart", "alone")
    ]
    assert weights[0] == weights[1]
    more = ["--set", "training.max_updates=24", "--set", "data.watch={}"]
    assert command("train", "apart.yaml", *options[:2], *more).code == 0
    assert command("report", "runs/apart").code == 0
    page = Path("runs/apart/report.html").read_text(encoding="utf-8")
    assert "Accuracy of gaps" in page


def test_the_configs_of_the_page_are_configs():
    page = Path(__file__).parents[1].joinpath("docs/pretraining.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 7
    pair = {"path": "pairs.tsv"}
    for block in blocks:
        values = yaml.safe_load(block)
        data = {"train": [pair], "valid": pair, **values.pop("data", {})}
        Config.model_validate({"name": "page", "data": data, **values})
    told = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert {*told} == {*TASKS}
