"""Laws of other people's model folders: nothing in one is believed before it has been checked.

A stranger can write any file into a folder and record its hash, so that a manifest proves only that
nothing was damaged on the way.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from tiny import build_tiny, config_of

from seq2seq.config.changing import changed
from seq2seq.data.tokenizer import OLD_FILE, SIDE_FILES, Tokenizers
from seq2seq.errors import UserError
from seq2seq.files import MANIFEST, check_manifest, check_model, sha256, write_manifest
from seq2seq.layout import BASE, CONFIG, MODEL_FILES, SCORES, TOKENIZERS, WEIGHTS
from seq2seq.models import MODELS, build_shapes
from seq2seq.models.folder import (
    base_of,
    load_model,
    read_weights,
    save_model,
    shapes_of,
    weights_of,
)

LINES = b"1 2\n3\n"
MODEL = Path("stranger")


@pytest.fixture(autouse=True)
def never_blocks() -> Iterator[None]:
    """Whatever waits for a pipe ends in an error."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("blocked"))
    signal.alarm(60)  # machines are busy
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
    assert {OLD_FILE, *SIDE_FILES} <= {*TOKENIZERS}
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
@pytest.mark.parametrize(
    "name", [CONFIG, WEIGHTS, "tokenizer.target.model", SCORES, BASE, MANIFEST]
)
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


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "tokenizer.target.model", SCORES, MANIFEST])
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


# Content with the recorded hash


def put(folder: Path, name: str, content: bytes) -> None:
    """Replaces a file of a model folder, whose manifest says so."""
    (folder / name).write_bytes(content)
    write_manifest(folder)


def alter(folder: Path, old: str, new: str) -> None:
    """Replaces text in the config of a model folder, whose manifest says so."""
    text = (folder / CONFIG).read_text(encoding="utf-8")
    assert old in text
    put(folder, CONFIG, text.replace(old, new).encode())


def safetensors(header: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    """A file of weights with a header that may say anything, its own size included."""
    return (len(header) if size is None else size).to_bytes(8, "little") + header + content


NOT_WEIGHTS = [
    b"",
    b"PK\3\4",
    b"\x80\4\x95" + bytes(99),
    safetensors(b"{}", size=2**63),
    safetensors(b"{}", size=10**8 + 1),
    safetensors(b'{"a":' * 20_000),
    safetensors(b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'),
    safetensors(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', bytes(4)),
    safetensors(b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    safetensors(b'{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}', bytes(8)),
]


@pytest.mark.parametrize("content", NOT_WEIGHTS, ids=range(len(NOT_WEIGHTS)))
def test_what_is_not_weights_is_an_error(content, stranger, command):
    put(stranger, WEIGHTS, content)
    for arguments in (["translate", "--model"], ["export", "--to=safetensors", "--output=out"]):
        result = command(*arguments, stranger, stdin=LINES)
        assert (result.code, result.out) == (1, b"")
        assert "stranger cannot be used: model.safetensors does not hold weights: " in result.err
    sets = ["--set=name=next", "--set=training.init_from=stranger"]
    result = command("train", "toy.yaml", *sets)
    assert result.code in (1, 2)
    assert result.err.startswith("error: stranger")


@pytest.mark.parametrize("content", [b"", b"\0" * 99, b"\n\xff" * 5_000, None], ids=range(4))
def test_a_damaged_tokenizer_is_an_error(content, stranger, command):
    whole = (stranger / "tokenizer.target.model").read_bytes()
    put(
        stranger, "tokenizer.target.model", whole[: len(whole) // 2] if content is None else content
    )
    result = command("translate", "--model", stranger, stdin=LINES)
    assert (result.code, result.out) == (1, b"")
    assert "error: stranger cannot be used: what tokenizer*.model should hold" in result.err


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (" dim: 32", " dim: 1000000", "decoder.0.cross_attention.memory.bias is 64, not 2000000"),
        ("ffn_dim: 64", "ffn_dim: 1000000", "decoder.0.feed_forward.0.bias is 64, not 1000000"),
        (
            "encoder_layers: 1",
            "encoder_layers: 1000",
            "encoder layers: 1 in the file, 1,000 in",
        ),
        ("encoder_layers: 1", "encoder_layers: 1000000000", "must be 1,000 or less, not 100000000"),
        ("heads: 2", "heads: 32", "source_positions.table is 32 x 2, not 32 x 32"),
        ("kv_heads: null", "kv_heads: 1", "decoder.0.cross_attention.memory.bias is 64, not 32"),
        ("positions: relative", "positions: learned", "source_positions.table is 32 x 2, not 49 x"),
        ("share_embeddings: all", "share_embeddings: none", "embeddings.output.weight is missing"),
    ],
)
def test_sizes_are_compared_before_anything_is_allocated(old, new, reason, stranger, command):
    alter(stranger, old, new)
    if "learned" in new:
        alter(stranger, "max_length: 48", "max_length: 1000000000")
        reason = reason.replace("49", "1000000001")
    for arguments in (["translate", "--model"], ["export", "--to=safetensors", "--output=out"]):
        result = command(*arguments, stranger, stdin=LINES)
        assert result.code in (1, 2)
        assert (result.out, reason in result.err) == (b"", True), result.err
    sets = ["--set=name=next", "--set=training.init_from=stranger"]
    result = command("train", "toy.yaml", *sets)
    assert result.code in (1, 2)
    assert reason in result.err


def test_an_lstm_is_compared_too(own, tmp_path):
    config = config_of("lstm")
    tokenizers = Tokenizers.read(Path("runs/toy/best"))
    weights = weights_of(build_tiny(config, vocab=len(tokenizers.target)))
    save_model(MODEL, config, tokenizers, weights, {})
    for options in ({"dim": 10**6}, {"embedding_dim": 10**6}, {"encoder_layers": 1_000}):
        other = changed(config, "model", options)
        with pytest.raises(UserError, match="does not fit the config beside it: "):
            load_model(MODEL, other, tokenizers, torch.device("cpu"))


def test_shapes_are_found_without_a_compiler():
    """To draw random numbers where there is no memory would import it, which takes a second."""
    code = (
        "import sys; from tiny import config_of; from seq2seq.models import build_shapes\n"
        "from seq2seq.models.positions import POSITIONS\n"
        "build_shapes(config_of('lstm'), 9, 9)\n"
        "for one in POSITIONS: build_shapes(config_of(model={'positions': one}), 9, 9)\n"
        "print('torch._dynamo' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, check=True)
    assert found.stdout == b"False\n"


@pytest.mark.parametrize("kind", MODELS)
def test_shapes_are_those_of_a_model_that_is_built(kind):
    config = config_of(kind)
    found = build_shapes(config, 23, 23)
    assert all(parameter.is_meta for parameter in found.parameters())
    assert shapes_of(weights_of(build_tiny(config))) == shapes_of(dict(found.named_parameters()))


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "alibi", "none"])
def test_the_longest_line_takes_no_memory_before_there_is_one(positions):
    config = changed(config_of(model={"positions": positions}), "data", {"max_length": 10**9})
    assert sum(buffer.numel() for buffer in build_tiny(config).buffers()) < 10**8


def test_an_average_is_compared_before_anything_is_allocated(own, command):
    path = Path("runs/toy/config.yaml")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(" dim: 32", " dim: 1000000"), encoding="utf-8")
    result = command("average", "runs/toy", "--last=2", "--output=out")
    assert result.code == 1
    assert "decoder.0.cross_attention.memory.bias is 64, not 2000000" in result.err


@pytest.mark.parametrize(
    "option",
    ["beam: 1000000", "n_best: 1000000", "candidates: 1000000", "batch_tokens: 1000000000000"],
)
def test_a_search_of_any_size_is_not_begun(option, stranger, command):
    name = option.partition(":")[0]
    lines = (stranger / CONFIG).read_text(encoding="utf-8").splitlines()
    lines = [f"  {option}" if line.startswith(f"  {name}: ") else line for line in lines]
    put(stranger, CONFIG, "\n".join(lines).encode())
    result = command("translate", "--model", stranger, stdin=LINES)
    assert (result.code, result.out) == (2, b"")
    assert f"decoding.{name}: must be" in result.err


# Adapters and their base


@pytest.fixture
def adapters(stranger: Path) -> Path:
    """A folder of adapters, of rank 1, for the toy's model."""
    folder = Path("adapters")
    shutil.copytree(stranger, folder)
    write(folder / BASE, base_of(Path("runs/toy/best"), 2.0))
    put(
        folder,
        WEIGHTS,
        save({f"{QUERY}.up": torch.ones(32, 1), f"{QUERY}.down": torch.ones(1, 32)}),
    )
    return folder


QUERY = "encoder.0.attention.query"


def test_adapters_are_added_to_their_base(adapters):
    found, base = read_weights(adapters), read_weights(Path("runs/toy/best"))
    assert torch.equal(found.pop(f"{QUERY}.weight"), base.pop(f"{QUERY}.weight") + 2.0)
    assert found.keys() == base.keys()


def test_a_base_has_no_base(adapters, command):
    other = Path("other")
    shutil.copytree(adapters, other)
    for folder, base in ((other, adapters), (adapters, adapters), (adapters, other)):
        write(folder / BASE, base_of(base, 2.0))
        write_manifest(folder)
        for arguments in (["translate", "--model"], ["export", "--to=safetensors", "--output=out"]):
            result = command(*arguments, folder, stdin=LINES)
            assert (result.code, result.out) == (1, b"")
            assert f"{folder} holds adapters for {base}, which holds adapters itself" in result.err
    assert not Path("out").exists()


def test_adapters_are_not_trained_for_adapters(adapters, command):
    sets = ["--set=name=next", "--set=training.init_from=adapters", "--set=training.lora={}"]
    result = command("train", "toy.yaml", *sets)
    assert result.code == 2
    assert "adapters (training.init_from) holds adapters itself" in result.err


@pytest.mark.parametrize(
    "change",
    [
        {"path": 1},
        {"path": ""},
        {"path": "runs/toy/best\0"},
        {"sha256": "abc"},
        {"sha256": None},
        {"scale": "2"},
        {"scale": float("nan")},
        {"scale": True},
        {"more": 1},
        {"scale": 10**400},
    ],
    ids=str,
)
def test_a_base_of_another_form_is_an_error(change, adapters, command):
    base = {**base_of(Path("runs/toy/best"), 2.0), **change}
    put(adapters, BASE, json.dumps(base).encode())
    result = command("translate", "--model", adapters, stdin=LINES)
    assert (result.code, result.out) == (1, b"")
    assert "adapters/base.json must have path, sha256 and scale" in result.err


@pytest.mark.parametrize("content", [b"[]", b"null", b"{}", b"[" * 100_000, b"\xff", b""])
def test_a_base_that_is_no_object_is_an_error(content, adapters, command):
    put(adapters, BASE, content)
    result = command("translate", "--model", adapters, stdin=LINES)
    assert (result.code, result.out) == (1, b"")
    assert "adapters/base.json must have path, sha256 and scale" in result.err


@pytest.mark.parametrize("path", ["/dev", "/dev/zero", "/proc/self/fd", "..", "runs", "\x1b[2J"])
def test_nothing_is_read_for_a_base_but_a_model(path, adapters, command):
    put(adapters, BASE, json.dumps({**base_of(Path("runs/toy/best"), 2.0), "path": path}).encode())
    result = command("translate", "--model", adapters, stdin=LINES)
    assert (result.code, result.out) == (1, b"")
    assert "which is not here" in result.err or "manifest.json is missing" in result.err
    assert "\x1b" not in result.err


def test_it_is_said_when_a_base_lies_elsewhere(adapters, command):
    base = base_of(Path("runs/toy/best").absolute(), 2.0)
    put(adapters, BASE, json.dumps(base).encode())
    result = command("translate", "--model", adapters, stdin=LINES)
    assert result.code == 0, result.err
    assert f"the weights they are added to are read from {base['path']}\n" in result.err


@pytest.mark.parametrize(
    "weights",
    [
        {f"{QUERY}.up": torch.ones(10**5, 1), f"{QUERY}.down": torch.ones(1, 10**5)},  # 80 GB
        {f"{QUERY}.up": torch.ones(32, 1), f"{QUERY}.down": torch.ones(2, 32)},
        {f"{QUERY}.up": torch.ones(32), f"{QUERY}.down": torch.ones(32)},
        {f"{QUERY}.up": torch.ones(32, 1)},
        {"nothing.up": torch.ones(32, 1), "nothing.down": torch.ones(1, 32)},
        {f"{QUERY}.weight": torch.ones(32, 32)},
    ],
    ids=range(6),
)
def test_adapters_of_another_shape_are_an_error(weights, adapters, command):
    put(adapters, WEIGHTS, save(weights))
    result = command("translate", "--model", adapters, stdin=LINES)
    assert (result.code, result.out) == (1, b"")
    assert "adapters does not fit runs/toy/best, which it holds adapters for: " in result.err


def test_a_base_that_is_no_regular_file_is_an_error(adapters, command):
    (adapters / BASE).rename("elsewhere")
    try:
        (adapters / BASE).symlink_to(Path("elsewhere").absolute())
    except OSError:
        pytest.skip("there are no links here")
    result = command("translate", "--model", adapters, stdin=LINES)
    assert result.code == 1
    assert "base.json is not a regular file" in result.err
