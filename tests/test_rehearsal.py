"""Laws of `seq2seq train CONFIG --dry-run`: it tells what training does, and changes no run."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_toy

from seq2seq.config import load
from seq2seq.data.batches import Batch, Batches
from seq2seq.data.store import Store
from seq2seq.data.tokenizer import PAD
from seq2seq.models import build
from seq2seq.prepare import prepare
from seq2seq.rehearsal import (
    Cost,
    duration,
    epoch_of,
    parts_of,
    rehearsed,
    row,
    size,
    time_lines,
)
from seq2seq.train import new_learner, new_model, training_batches

CPU = torch.device("cpu")
SETTINGS = {
    "transformer": [],
    "two tables": ["model.share_embeddings=target", "model.positions=learned"],
    "three tables": ["model.share_embeddings=none", "model.norm=post"],
    "lstm": ["model={kind: lstm, dim: 16, embedding_dim: 8}"],
    "no attention": ["model={kind: lstm, dim: 16, embedding_dim: 8, attention: none}"],
}


def shown(out: bytes) -> dict[str, dict[str, str]]:
    """The values of the tables, by heading and row."""
    tables: dict[str, dict[str, str]] = {}
    for line in out.decode().splitlines():
        if not line.startswith(" "):
            table = tables.setdefault(line, {})
        elif cells := re.fullmatch(r"  (\S.{13})(.{14})(  .*)?", line.ljust(30)):
            table[cells[1].strip()] = cells[2].strip()
    return tables


def number(text: str) -> int:
    return int(text.replace(",", ""))


def pairs_shown(out: bytes) -> list[dict[str, str]]:
    """The parts of each pair that is shown, wrapped lines joined."""
    blocks = out.decode().partition("\nthe first batch: ")[2].partition("\n")[2]
    pairs = []
    for block in blocks.split("\n\n"):
        parts: dict[str, str] = {}
        for line in filter(None, block.split("\n")):
            name, content = line[:12].strip(), line[12:]
            if not name and len(parts) == 1:
                name = "text"
            name = name or [*parts][-1]
            parts[name] = f"{parts[name]} {content}" if name in parts else content
        pairs.append(parts)
    return [parts for parts in pairs if parts]


@pytest.fixture
def contents(own):
    """What is in runs/, file by file."""

    def read() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}

    return read


def test_runs_are_left_as_they_are(contents, command):
    before = contents()
    for name in ("toy", "new"):
        result = command("train", "toy.yaml", "--dry-run", "--set", f"name={name}")
        assert result.code == 0, result.err
    assert contents() == before


def test_it_prepares_as_training_does_and_says_so(own, command, tmp_path, monkeypatch):
    folder = tmp_path / "bare"
    folder.mkdir()
    write_toy(folder)
    monkeypatch.chdir(folder)
    result = command("train", "toy.yaml", "--dry-run")
    assert result.code == 0
    assert "data is prepared in prepared, as training does it" in result.err
    assert not Path("runs").exists()
    for path in Path("prepared").rglob("*.npy"):
        assert path.read_bytes() == (own / path).read_bytes()


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_parts_are_those_of_the_modules_and_make_the_whole(own, options):
    model = build(load("toy.yaml", options), 300, 300)
    named = dict(model.named_children())
    tables = [*named["embeddings"].parameters()]
    expected = {
        "encoder": count(named["encoder"], named.get("encoder_norm")),
        "decoder": count(
            *(named.get(name) for name in ("decoder", "decoder_norm")),
            *(named.get(name) for name in ("bridge", "attend", "readout")),
        ),
        "output": len(tables) > 2 and 300 * model.output_weight.shape[1],
    }
    positions = count(*(named.get(f"{side}_positions") for side in ("source", "target")))
    all_tables = sum(table.numel() for table in tables)
    expected["embeddings"] = all_tables - expected["output"] + positions
    assert parts_of(model) == {part: size for part, size in expected.items() if size}
    assert sum(parts_of(model).values()) == sum(one.numel() for one in model.parameters())


def test_how_fast_each_part_learns_is_told_where_it_differs(own, command):
    def told(*options: str) -> dict[tuple[str, str], int]:
        words = [word for option in options for word in ("--set", option)]
        result = command(
            "train", "toy.yaml", "--dry-run", "--set", "model.encoder_layers=2", *words
        )
        assert result.code == 0, result.err
        lines = result.out.decode().partition("\nwhat learns\n")[2].partition("\nan epoch\n")[0]
        rows = [re.split(r"  +", line.strip()) for line in lines.splitlines()]
        found = {(part, more): number(size) for part, size, more in rows}
        in_all = number(shown(result.out)["parameters"]["in all"])
        assert sum(found.values()) in (0, in_all)
        return found

    assert told() == {}
    some = told("training.layer_decay=0.5", "training.freeze=[embeddings]")
    whole, rate = {part for part, _ in some}, "of the learning rate"
    assert {"encoder.0", "encoder.1", "decoder", "embeddings"} <= whole
    assert some["encoder.1", f"1 {rate}"] == some["encoder.0", f"0.5 {rate}"]
    assert ("embeddings", "stays as it is") in some
    later = told("training.rates={'encoder.0': 3}", "training.unfreeze_every=100")
    assert ("encoder.0", f"3 {rate}, after update 100") in later
    assert ("embeddings", f"1 {rate}, after update 200") in later
    apart = told("training.freeze=['encoder.1', '!*norm*']")
    assert ("encoder.1.feed_forward", "stays as it is") in apart
    assert ("encoder_norm", f"1 {rate}") in apart


def count(*modules: torch.nn.Module | None) -> int:
    return sum(one.numel() for module in modules if module for one in module.parameters())


def test_an_epoch_is_what_its_batches_add_up_to(own, command):
    options = ["training.accumulate=2", "training.batch_tokens=64"]
    words = [word for option in options for word in ("--set", option)]
    table = shown(command("train", "toy.yaml", "--dry-run", *words).out)["an epoch"]
    config = load("toy.yaml", options)
    batches = training_batches(config, prepare(config))
    updates = batches.updates_of(0, 2)
    seen = [batches.collate(pairs) for update in updates for pairs in update]
    assert number(table["pairs"]) == sum(len(batch.source) for batch in seen) == 60
    assert number(table["target tokens"]) == sum(batch.target_tokens for batch in seen)
    assert number(table["batches"]) == len(seen) > 10
    assert number(table["updates"]) == len(updates) < len(seen)
    sides = [side for batch in seen for side in (batch.source, batch.target_out)]
    padding = sum(int((side == PAD).sum()) for side in sides)
    positions = sum(side.numel() for side in sides)
    assert table["padding"] == f"{padding / positions:.1%}"
    store = Store.open(Path("prepared/train"))
    assert number(table["source tokens"]) == len(store.source.ids) + 60
    assert number(table["target tokens"]) == len(store.target.ids) + 60


def test_no_batch_has_more_positions_than_the_largest():
    random = np.random.default_rng(1)
    for _ in range(20):
        store = Store.of(*([[5] * n for n in random.integers(1, 40, 50)] for _ in range(2)))
        batches = Batches(store, 100)
        epoch = epoch_of(batches, 1)
        positions = [
            batch.source.numel() + batch.target_out.numel()
            for batch in map(batches.collate, batches.epoch(0))
        ]
        largest = batches.collate(epoch.largest)
        assert largest.source.numel() + largest.target_out.numel() == max(positions)
        assert epoch.largest_positions == max(positions)
        assert epoch.positions == sum(positions)
        assert epoch.padding == pytest.approx(batches.padding(batches.epoch(0)))


def test_the_batch_shown_is_the_first_that_training_learns_from(own, command, monkeypatch):
    out = command("train", "toy.yaml", "--dry-run", "--set", "name=new").out
    made: list[Batch] = []
    collate = Batches.collate

    def recording(*arguments: object) -> Batch:
        made.append(collate(*arguments))
        return made[-1]

    monkeypatch.setattr(Batches, "collate", recording)
    command("train", "toy.yaml", "--set", "name=new", "--set", "training.max_updates=11")
    tokenizer = prepare(load("toy.yaml")).tokenizers.source
    first, found = made[0], pairs_shown(out)
    assert len(found) == 3
    assert f"\nthe first batch: {len(first.source)} pairs" in out.decode()
    for row_number, pair in enumerate(found):
        for name, rectangle in zip(("source", "reads", "must say"), first[:3], strict=True):
            ids = rectangle[row_number].tolist()
            real = ids[: ids.index(PAD)] if PAD in ids else ids
            assert pair[name].split(" ") == tokenizer.pieces(real)


def test_pairs_are_shown_as_text_and_in_pieces_of_it(own, command):
    files = [Path(f"train.{side}").read_text("utf-8").split("\n") for side in ("digits", "de")]
    there = set(zip(*files, strict=True))
    tokenizer = prepare(load("toy.yaml")).tokenizers.source
    found = pairs_shown(command("train", "toy.yaml", "--dry-run").out)
    assert len(found) == 3
    for pair in found:
        assert (pair["text"], pair["target"]) in there
        source, target = (
            tokenizer.pieces(tokenizer.encode([pair[name]])[0]) for name in ("text", "target")
        )
        assert pair["source"].split(" ") == [*source, "</s>"]
        assert pair["must say"].split(" ") == [*target, "</s>"]
        assert pair["reads"].split(" ") == ["<s>", *target]


def test_it_fits_into_80_columns(own, command):
    long = ["training.max_updates=1000000000", "training.batch_tokens=100000"]
    words = [word for option in long for word in ("--set", option)]
    lines = command("train", "toy.yaml", "--dry-run", *words).out.decode().splitlines()
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("optimizer", "times"), [("adamw", 2), ("sgd", 1), ("adafactor", 1), ("muon", 2)]
)
def test_weights_stay_and_the_optimizer_keeps_what_it_keeps_in_training(own, optimizer, times):
    options = [f"training.optimizer={optimizer}", "training.ema=0.9"]
    config = load("toy.yaml", options)
    prepared = prepare(config)
    batches = training_batches(config, prepared)
    batch = batches.collate(epoch_of(batches, 1).largest)
    learner, new = (make(config, prepared.tokenizers) for make in (new_learner, new_model))
    cost = rehearsed(learner, batch)
    for here, there in zip(learner.model.parameters(), new.parameters(), strict=True):
        assert torch.equal(here, there)
    assert cost.weights == 4 * sum(parameter.numel() for parameter in new.parameters())
    assert cost.mean == cost.weights
    assert 0 < cost.state <= (times + 0.1) * cost.weights
    if optimizer in ("adamw", "sgd"):
        assert cost.state >= times * cost.weights


GROWTH = """
import numpy as np
import torch
from seq2seq.rehearsal import peak_growth

np.ones(60_000_000 // 8)
growth = peak_growth(torch.device("cpu"))
taken = np.ones(30_000_000 // 8)
del taken
print(growth())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets the peak of memory")
def test_growth_is_what_was_taken_even_if_there_was_a_higher_peak_before():
    # in a process of its own: a heap that has grown before gives of what it has
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, check=True)
    assert int(done.stdout) == pytest.approx(30_000_000, rel=0.1)


def test_what_is_measured_is_made_of_its_parts(own, command):
    table = shown(command("train", "toy.yaml", "--dry-run").out)["memory, about"]
    megabytes = {name: float(value.removesuffix(" MB")) for name, value in table.items()}
    in_all = megabytes.pop("in all")
    assert in_all == pytest.approx(sum(megabytes.values()), abs=0.3)
    assert megabytes["gradients"] == megabytes["weights"]


def test_more_positions_take_more_memory(own):
    options = ["model.dim=128", "model.ffn_dim=512"]
    config = load("toy.yaml", options)
    prepared = prepare(config)
    grown = []
    for times in (60, 900):
        pairs = np.resize(np.arange(60), times)
        batch = Batches(prepared.train, 10**6).collate(pairs)
        cost = rehearsed(new_learner(config, prepared.tokenizers), batch)
        assert cost.growth is not None
        grown.append(cost.growth)
    assert grown[1] > 2 * grown[0]


def test_times_are_in_proportion_to_positions(own):
    config = load("toy.yaml", ["training.accumulate=2", "training.max_updates=1000"])
    batches = training_batches(config, prepare(config))
    epoch = epoch_of(batches, 2)
    lines = [*time_lines(Cost(0, 0, 0, None, 7.0), epoch, config)]
    seconds = 3.5 * epoch.positions / epoch.largest_positions
    assert lines[1].split()[2:4] == ["7.00", "s"]
    assert lines[2] == row("an epoch", duration(seconds), "validation not counted")
    assert lines[3].startswith(row("training", duration(seconds * 1000 / epoch.updates)))


def test_a_batch_that_does_not_fit_is_a_message(own, command, monkeypatch):
    def refuse(*arguments: object, **more: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("seq2seq.rehearsal.Learner.update", refuse)
    result = command("train", "toy.yaml", "--dry-run")
    assert result.code == 1
    assert re.search(
        r"^error: a batch of \d+ pairs needs more memory than cpu has; lower "
        r"training\.batch_tokens, and raise training\.accumulate instead\n\Z",
        result.err,
        re.M,
    )


def test_fresh_and_several_processes_are_refused(own, command, monkeypatch):
    assert command("train", "toy.yaml", "--dry-run", "--fresh") == (
        2,
        b"",
        "error: --dry-run leaves all runs as they are; give it without --fresh\n",
    )
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert command("train", "toy.yaml", "--dry-run") == (
        1,
        b"",
        "error: --dry-run is for one process; start it without torchrun\n",
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(12_340_000, "12.3 MB"), (1_234_000_000, "1.23 GB"), (40_000, "0.0 MB")],
)
def test_bytes_are_rounded(value, text):
    assert size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.234, "1.23 s"), (119, "119.00 s"), (120, "2.0 min"), (7200, "2.0 h")]
)
def test_times_have_the_unit_that_people_would_choose(seconds, text):
    assert duration(seconds) == text
