"""Laws of what has another name or place: data and models are known by their content."""

import json
import shutil
from pathlib import Path

import pytest

MORE = ("--set", "training.max_updates=80")
NAME = ("--set", "name=other")
BEGIN = ("--set", "training.init_from=base")


def weights(run: str) -> bytes:
    return Path("runs", run, "best/model.safetensors").read_bytes()


@pytest.fixture
def other(own, command) -> Path:
    """A run that started from a model in `base`, and the folder it was trained in."""
    shutil.copytree("runs/toy/best", "base")
    result = command("train", "toy.yaml", *NAME, *BEGIN)
    assert result.code == 0, result.err
    return own


def rename_data(folder: str) -> None:
    """Moves the text into a folder, under other names, and makes the config name it there."""
    Path(folder).mkdir()
    for name in ("train", "valid"):
        for side in ("digits", "de"):
            Path(f"{name}.{side}").rename(Path(folder, f"my-{name}.{side}"))
    text = Path("toy.yaml").read_text()
    for name in ("train", "valid"):
        text = text.replace(f": {name}.", f": {folder}/my-{name}.")
    Path("toy.yaml").write_text(text)


def test_a_run_goes_on_with_text_that_was_renamed_and_moved(own, command):
    straight = command("train", "toy.yaml", *MORE, "--set", "name=straight")
    assert straight.code == 0
    rename_data("elsewhere")
    result = command("train", "toy.yaml", *MORE)
    assert result.code == 0, result.err
    assert "going on after update 60" in result.err
    assert weights("toy") == weights("straight")
    assert "elsewhere/my-train.digits" in Path("runs/toy/config.yaml").read_text()


def test_a_run_goes_on_with_one_file_in_place_of_two_names_for_it(own, command):
    shutil.copy("train.de", "again.de")
    Path("toy.yaml").write_text(Path("toy.yaml").read_text().replace("train.de", "again.de"))
    assert command("train", "toy.yaml", *MORE).code == 0


def test_other_text_under_another_name_is_refused_with_the_names(own, command):
    text = Path("train.de").read_text("utf-8").replace("eins", "ein")
    Path("changed.de").write_text(text, "utf-8")
    Path("toy.yaml").write_text(Path("toy.yaml").read_text().replace("train.de", "changed.de"))
    result = command("train", "toy.yaml", *MORE)
    assert result.code == 1
    assert "runs/toy was begun with other data" in result.err
    assert "it was train.de before; restore the files" in result.err


def test_the_order_of_corpora_and_their_options_still_count(own, command):
    tagged = (
        Path("toy.yaml").read_text().replace("target: train.de}", "target: train.de, tag: <x>}")
    )
    Path("toy.yaml").write_text(tagged)
    result = command("train", "toy.yaml")
    assert (result.code, "data.train.0.tag" in result.err) == (1, True)


@pytest.mark.parametrize("how", ["renamed", "deleted"])
def test_a_run_goes_on_without_the_model_that_it_started_from(other, command, how):
    straight = command("train", "toy.yaml", *MORE, "--set", "name=straight", *BEGIN)
    assert straight.code == 0
    Path("base").rename("gone") if how == "renamed" else shutil.rmtree("base")
    result = command("train", "toy.yaml", *NAME, *BEGIN, *MORE)
    assert result.code == 0, result.err
    assert "base (training.init_from) is not here any more" in result.err
    assert "going on after update 60" in result.err
    assert weights("other") == weights("straight")
    if how == "renamed":  # and by its new name
        options = ("--set", "training.init_from=gone", "--set", "training.max_updates=100")
        result = command("train", "toy.yaml", *NAME, *options)
        assert result.code == 0, result.err
        assert "not here" not in result.err


def test_another_model_in_its_place_is_refused(other, command):
    assert json.loads(Path("runs/other/origins.json").read_text()).keys() == {"encoder", "decoder"}
    shutil.copytree("runs/other/best", "second")
    result = command("train", "toy.yaml", *NAME, "--set", "training.init_from=second", *MORE)
    assert result.code == 1
    assert "runs/other was begun with the weights of base, not with those of second" in result.err


def test_a_run_of_before_knows_its_model_by_name(other, command):
    Path("runs/other/origins.json").unlink()
    assert command("train", "toy.yaml", *NAME, *BEGIN, *MORE).code == 0
    assert Path("runs/other/origins.json").exists()
    Path("runs/other/origins.json").unlink()
    shutil.copytree("base", "second")
    result = command("train", "toy.yaml", *NAME, "--set", "training.init_from=second", *MORE)
    assert (result.code, "begun with the weights of base" in result.err) == (1, True)


def test_a_model_that_is_missing_before_anything_was_learned_is_an_error(own, command):
    result = command("train", "toy.yaml", *NAME, *BEGIN)
    assert (result.code, "training.init_from: base is no folder" in result.err) == (2, True)
    assert not Path("runs/other").exists()


def test_adapters_go_on_with_their_base_under_another_name(own, command):
    shutil.copytree("runs/toy/best", "base")
    lora = ("--set", "training.lora={rank: 2}")
    assert command("train", "toy.yaml", *NAME, *BEGIN, *lora).code == 0
    Path("base").rename("moved")
    refused = command("train", "toy.yaml", *NAME, *BEGIN, *lora, *MORE)
    assert (refused.code, "base is no folder" in refused.err) == (2, True)  # needed for its weights
    named = ("--set", "training.init_from=moved")
    result = command("train", "toy.yaml", *NAME, *named, *lora, *MORE)
    assert result.code == 0, result.err
    assert json.loads(Path("runs/other/base.json").read_text())["path"] == "moved"
