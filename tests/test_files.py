"""Laws of files.py: whatever happens, a reader finds the old or the new; damage and rivals show."""

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq import files
from seq2seq.errors import UserError
from seq2seq.files import (
    MANIFEST,
    check_manifest,
    fingerprint,
    lock,
    new_file,
    new_folder,
    recover_folder,
    remove,
    sha256,
    to_json,
    write_file,
    write_json,
    write_manifest,
)

OLD = {"a": b"old", "b": b"older"}
NEW = {"a": b"new", "c": b"newer"}


def _content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _fill(folder: Path, content: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)


def _refuse(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


# Files


@given(st.binary() | st.text(), st.binary())
@settings(max_examples=20, deadline=None)
def test_a_written_file_holds_what_was_written(tmp_path_factory, content, before):
    path = tmp_path_factory.getbasetemp() / "written"
    path.write_bytes(before)
    write_file(path, content)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_file_that_cannot_be_written_leaves_the_old_one_alone(tmp_path, monkeypatch, call):
    _fill(tmp_path, OLD)
    monkeypatch.setattr(os, call, _refuse)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "a", b"new")
    assert _content(tmp_path) == OLD


def test_a_file_is_flushed_before_it_takes_its_place_and_the_folder_after(tmp_path, monkeypatch):
    calls = []

    def noted(name, real):
        def call(*arguments):
            calls.append(name)
            return real(*arguments)

        return call

    for module, name in ((os, "fsync"), (os, "replace"), (files, "sync_folder")):
        monkeypatch.setattr(module, name, noted(name, getattr(module, name)))
    write_file(tmp_path / "a", b"new")
    assert calls[:3] == ["fsync", "replace", "sync_folder"]


def test_a_file_has_the_permissions_that_the_user_gives_files(tmp_path):
    (tmp_path / "usual").touch()
    write_file(tmp_path / "written", b"")
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "usual").stat().st_mode


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(json_values)
@settings(max_examples=20, deadline=None)
def test_json_that_was_written_comes_back(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value


@given(st.integers(0, 3), st.integers(-1, 1))
@settings(max_examples=12, deadline=None)
def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path_factory, blocks, more):
    content = os.urandom(max(0, blocks * (1 << 20) + more))
    path = tmp_path_factory.getbasetemp() / "hashed"
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()


@given(st.dictionaries(st.text(), json_values), json_values)
@settings(max_examples=25, deadline=None)
def test_a_fingerprint_depends_on_the_value_and_not_on_the_order_of_names(value, other):
    assert fingerprint(dict(reversed(value.items()))) == fingerprint(value)
    assert fingerprint([value]) != fingerprint([value, other])


def _break_off_a_file(path: Path, error: type[BaseException]) -> None:
    with new_file(path) as file:
        file.write(b"new")
        file.flush()
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_file_that_was_not_completed_leaves_the_old_one_and_no_trace(tmp_path, error):
    _fill(tmp_path, OLD)
    for name in ("a", "c"):
        with pytest.raises(error):
            _break_off_a_file(tmp_path / name, error)
    assert _content(tmp_path) == OLD


def test_a_file_filled_in_pieces_takes_its_place_when_it_is_complete(tmp_path):
    _fill(tmp_path, OLD)
    with new_file(tmp_path / "a") as file:
        for piece in (b"n", b"e", b"w"):
            file.write(piece)
            assert (tmp_path / "a").read_bytes() == OLD["a"]
    assert _content(tmp_path) == {**OLD, "a": b"new"}


# Folders


def _break_off(folder: Path, error: type[BaseException]) -> None:
    with new_folder(folder) as partial:
        _fill(partial, NEW)
        raise error


@pytest.mark.parametrize("there_before", [True, False])
def test_a_new_folder_takes_the_place_of_the_old_one_when_it_is_complete(tmp_path, there_before):
    folder = tmp_path / "deep" / "folder"
    if there_before:
        _fill(folder, OLD)
    with new_folder(folder) as partial:
        _fill(partial, NEW)
        assert folder.exists() == there_before
        assert not there_before or _content(folder) == OLD
    assert _content(folder) == NEW
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize("there_before", [True, False])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_that_was_not_completed_leaves_no_trace(tmp_path, there_before, error):
    folder = tmp_path / "folder"
    if there_before:
        _fill(folder, OLD)
    with pytest.raises(error):
        _break_off(folder, error)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"] * there_before
    assert not there_before or _content(folder) == OLD


def test_a_folder_that_cannot_be_flushed_leaves_the_old_one(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    _fill(folder, OLD)
    monkeypatch.setattr(os, "fsync", _refuse)
    with pytest.raises(OSError, match="No space"), new_folder(folder) as partial:
        _fill(partial, NEW)
    assert _content(folder) == OLD


def test_every_file_of_a_new_folder_is_flushed_before_it_takes_its_place(tmp_path, monkeypatch):
    real_fsync, real_rename = os.fsync, os.rename
    flushed, flushed_at_rename = set(), []

    def fsync(descriptor):
        flushed.add(os.fstat(descriptor).st_ino)
        real_fsync(descriptor)

    def rename(*paths):
        flushed_at_rename.append(set(flushed))
        real_rename(*paths)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    folder = tmp_path / "folder"
    with new_folder(folder) as partial:
        _fill(partial, NEW)
    inodes = {path.stat().st_ino for path in (folder, *folder.iterdir())}
    assert inodes <= flushed_at_rename[0]


# Kills itself, as a power cut would, before the n-th call that changes or flushes something.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path

left = int(sys.argv[1])

def deadly(real):
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call

from seq2seq.files import new_folder

for module, name in ((os, "fsync"), (os, "rename"), (shutil, "rmtree")):
    setattr(module, name, deadly(getattr(module, name)))
with new_folder(Path("folder")) as partial:
    (partial / "a").write_bytes(b"new")
    (partial / "c").write_bytes(b"newer")
"""


@pytest.mark.skipif(os.name != "posix", reason="kills with a POSIX signal")
def test_a_kill_at_any_moment_leaves_the_old_folder_or_the_new_one(tmp_path):
    folder = tmp_path / "folder"
    found = []
    for calls in range(20):
        remove(folder)
        _fill(folder, OLD)
        command = [sys.executable, "-c", KILLED, str(calls)]
        killed = subprocess.run(command, cwd=tmp_path).returncode != 0
        recover_folder(folder)
        found.append(_content(folder))
        if not killed:
            break
    assert not killed
    replaced = found.index(NEW)
    assert 0 < replaced < len(found) - 1
    assert found == [OLD] * replaced + [NEW] * (len(found) - replaced)
    with new_folder(folder) as partial:  # and nothing that was left lying about is in the way
        _fill(partial, OLD)
    assert _content(folder) == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_recovery_touches_nothing_that_is_in_place(tmp_path):
    folder = tmp_path / "folder"
    recover_folder(folder)
    assert not folder.exists()
    _fill(folder, NEW)
    _fill(tmp_path / "folder.old", OLD)
    recover_folder(folder)
    assert _content(folder) == NEW


def test_an_unfinished_replacement_is_healed_by_the_next_one_too(tmp_path):
    folder = tmp_path / "folder"
    _fill(tmp_path / "folder.old", OLD)
    with pytest.raises(KeyboardInterrupt):
        _break_off(folder, KeyboardInterrupt)
    assert _content(folder) == OLD


# Manifests


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    _fill(folder, {"a": b"one", "b": b"two", "c": b""})
    write_manifest(folder)
    return folder


def _complaint(folder: Path) -> str:
    with pytest.raises(UserError) as raised:
        check_manifest(folder, "copy it again")
    return str(raised.value)


def test_a_folder_as_its_manifest_says_can_be_used(model):
    check_manifest(model, "")
    write_manifest(model)  # a manifest does not list itself
    check_manifest(model, "")
    (model / "notes.txt").write_text("what is not in the manifest does not matter")
    check_manifest(model, "")


@pytest.mark.parametrize("content", [b"onE", b"on", b"one\n", b""])
def test_an_altered_file_is_named_even_if_its_size_is_the_same(model, content):
    (model / "a").write_bytes(content)
    assert _complaint(model) == f"{model} cannot be used: a has been altered; copy it again"


def test_every_file_that_is_missing_or_altered_is_named(model):
    (model / "a").unlink()
    (model / "b").write_bytes(b"!!!")
    (model / "c").unlink()
    (model / "c").mkdir()
    assert _complaint(model) == (
        f"{model} cannot be used: a is missing, b has been altered, c is missing; copy it again"
    )


def test_a_missing_manifest_is_named(model):
    (model / MANIFEST).unlink()
    assert _complaint(model) == f"{model} cannot be used: {MANIFEST} is missing; copy it again"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[1]", b'{"a": 1}', b'{"a": {}}', b"\xff"])
def test_a_damaged_manifest_is_named(model, content):
    (model / MANIFEST).write_bytes(content)
    assert _complaint(model) == (
        f"{model} cannot be used: {MANIFEST} has been altered; copy it again"
    )


# Locks

WAITER = """
import sys
from pathlib import Path
from seq2seq.files import lock

with lock(Path("deep/lock"), wait=lambda: print("waiting", flush=True)):
    print("held", flush=True)
"""

HOLDER = """
import sys
from pathlib import Path
from seq2seq.files import lock

with lock(Path("deep/lock"), "busy"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_a_lock_is_for_one_process_until_it_ends(tmp_path, end):
    path = tmp_path / "deep" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError) as raised, lock(path, "someone else has it"):
            raise AssertionError("two processes hold one lock")
        assert str(raised.value) == "someone else has it"
        if end == "is killed":
            holder.kill()
        else:
            holder.stdin.close()
        holder.wait()
    with lock(path, "someone else has it"):
        pass


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_who_wants_to_wait_says_so_and_has_the_lock_next(tmp_path, end):
    start = {"cwd": tmp_path, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], **start)
    with holder:
        assert holder.stdout.readline() == b"held\n"
        with subprocess.Popen([sys.executable, "-c", WAITER], **start) as waiter:
            assert waiter.stdout.readline() == b"waiting\n"
            assert waiter.poll() is None
            if end == "is killed":
                holder.kill()
            else:
                holder.stdin.close()
            assert waiter.stdout.readline() == b"held\n"
            assert waiter.wait() == 0


def test_where_nobody_has_the_lock_nobody_waits(tmp_path):
    waited = []
    with lock(tmp_path / "lock", wait=lambda: waited.append(1)):
        assert waited == []


def test_a_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(UserError, match="inside"), lock(tmp_path / "lock", "busy"):
        raise UserError("inside")
    with lock(tmp_path / "lock", "busy"):
        pass


def test_json_holds_any_text(tmp_path):
    value = {"k\ud800": "ü", "n": ["\udcff"]}
    write_json(tmp_path / "any.json", value)
    content = (tmp_path / "any.json").read_bytes()
    assert json.loads(content) == value
    assert "ü".encode() in content


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_json_has_no_number_that_is_not_finite(tmp_path, number):
    value = {"a": [number, (1.5, {"b": number})], "c": {"d": (number,)}, "e": number}
    expected = {"a": [None, [1.5, {"b": None}]], "c": {"d": [None]}, "e": None}
    assert json.loads(to_json(value)) == expected
    write_json(tmp_path / "file", value)
    assert json.loads((tmp_path / "file").read_text()) == expected
