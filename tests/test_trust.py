"""Laws of other people's model folders: nothing in one is believed before it has been checked.

A stranger can write any file into a folder and record its hash, so that a manifest proves only that
nothing was damaged on the way.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seq2seq.data.tokenizer import SHARED_FILE, SIDE_FILES
from seq2seq.errors import UserError
from seq2seq.files import MANIFEST, check_manifest, check_model, sha256
from seq2seq.layout import BASE, CONFIG, MODEL_FILES, SCORES, TOKENIZERS, WEIGHTS

LINES = b"1 2\n3\n"
MODEL = Path("stranger")


@pytest.fixture(autouse=True)
def never_blocks() -> Iterator[None]:
    """Whatever waits for a pipe ends in an error."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("blocked"))
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def stranger(own: Path) -> Path:
    """A model folder from elsewhere, in the working folder."""
    shutil.copytree("runs/toy/best", MODEL)
    return MODEL


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


# Names


@pytest.mark.parametrize("name", ["../secret", "secret", "sub/secret", ".secret", "ctranslate2"])
def test_only_files_of_a_model_are_copied(name, stranger, command):
    (stranger / "sub").mkdir()
    secret = stranger / name
    secret.write_bytes(b"a secret")
    entry = {"bytes": 8, "sha256": sha256(secret)}
    write(stranger / MANIFEST, {**manifest_of(stranger), name: entry})
    result = command("export", stranger, "--to", "safetensors", "--output", "out/model")
    assert result.code == 1
    assert result.err.startswith("error: stranger cannot be used: manifest.json ")
    assert not Path("out").exists()
    assert command("translate", "--model", stranger, stdin=LINES).code == 1


def test_an_absolute_name_is_no_name(stranger, tmp_path):
    (tmp_path / "secret").touch()
    entry = {"bytes": 0, "sha256": "0" * 64}
    write(stranger / MANIFEST, {str(tmp_path / "secret"): entry})
    with pytest.raises(UserError, match=r"manifest\.json has been altered"):
        check_manifest(stranger, "")


def test_exports_leave_out_what_lies_beside_a_model(stranger, command):
    (stranger / "ctranslate2").mkdir()
    (stranger / "ctranslate2" / "model.bin").touch()
    (stranger / "notes.txt").touch()
    result = command("export", stranger, "--to", "safetensors", "--output", "out")
    assert result.code == 0, result.err
    assert {path.name for path in Path("out").iterdir()} == {*manifest_of(stranger), MANIFEST}


def test_the_closed_list_has_all_files_that_are_written(stranger):
    assert {SHARED_FILE, *SIDE_FILES} <= {*TOKENIZERS}
    assert manifest_of(stranger).keys() <= {*MODEL_FILES}


# The manifest


@pytest.mark.parametrize("without", [CONFIG, WEIGHTS, TOKENIZERS, SCORES, MODEL_FILES])
def test_what_is_read_stands_in_the_manifest(without, stranger):
    kept = {name: entry for name, entry in manifest_of(stranger).items() if name not in without}
    write(stranger / MANIFEST, kept)
    with pytest.raises(UserError, match=r"manifest\.json does not name"):
        check_model(stranger)


def test_an_empty_manifest_is_none(stranger, command):
    weights = (stranger / WEIGHTS).read_bytes()
    (stranger / WEIGHTS).write_bytes(weights[:-4] + b"\0\0\0\1")
    write(stranger / MANIFEST, {})
    result = command("translate", "--model", stranger, stdin=LINES)
    assert (result.code, result.out) == (1, b"")
    assert "manifest.json does not name config.yaml" in result.err


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "null",
        '"text"',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"model.safetensors": null}',
        '{"model.safetensors": {"bytes": "1", "sha256": "a"}}',
        '{"model.safetensors": {"bytes": 1, "sha256": 2}}',
        '{"model.safetensors": {"bytes": 1' + "0" * 5_000 + ', "sha256": "a"}}',
        '{"../other": {"bytes": 1, "sha256": "a"}}',
        " " * (1 << 20) + "{}",
    ],
    ids=range(11),
)
def test_a_manifest_of_another_form_is_an_error(content, stranger, command):
    (stranger / MANIFEST).write_text(content)
    result = command("translate", "--model", stranger, stdin=LINES)
    assert (result.code, result.out) == (1, b"")
    assert result.err.startswith("error: stranger cannot be used: manifest.json ")


# Files that are no files


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "tokenizer.model", SCORES, BASE, MANIFEST])
def test_a_pipe_is_not_waited_for(name, stranger, command):
    (stranger / name).unlink(missing_ok=True)
    os.mkfifo(stranger / name)
    result = command("translate", "--model", stranger, stdin=LINES)
    assert (result.code, result.out) == (1, b"")
    assert result.err.startswith("error: stranger cannot be used: ")
    assert name in result.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_a_run_whose_config_is_no_file_is_an_error(make, own, command):
    Path("runs/toy/config.yaml").unlink()
    make("runs/toy/config.yaml")
    result = command("translate", "--model", "runs/toy", stdin=LINES)
    assert result.code == 1
    assert "runs/toy/config.yaml cannot be used: it is not a regular file" in result.err


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "tokenizer.model", SCORES, MANIFEST])
def test_a_link_is_not_followed(name, stranger, command):
    (stranger / name).rename("elsewhere")
    try:
        (stranger / name).symlink_to(Path("elsewhere").absolute())
    except OSError:
        pytest.skip("there are no links here")
    for arguments in (["translate", "--model"], ["export", "--to=safetensors", "--output=out"]):
        result = command(*arguments, stranger, stdin=LINES)
        assert (result.code, result.out) == (1, b"")
        assert result.err.startswith("error: stranger cannot be used: ")
        assert f"{name} is not a regular file" in result.err
    assert not Path("out").exists()
