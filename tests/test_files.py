"""Laws of files.py: whatever happens, a reader finds the old or the new; damage and rivals show."""

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq import files
from seq2seq.errors import UserError
from seq2seq.files import (
    MANIFEST,
    check_manifest,
    fingerprint,
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
from seq2seq.locks import holder, lock
from seq2seq.regular import check_inside, open_own

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
import os, signal, sys
from pathlib import Path
from typing import Any

left = int(sys.argv[1])

def deadly(real):
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call

from seq2seq.files import (new_folder)

for name in ("fsync", "rename", "mkdir", "unlink", "rmdir"):
    setattr(os, name, deadly(getattr(os, name)))
with new_folder(Path("folder")) as partial:
    (partial / "a").write_bytes(b"new")
    (partial / "c").write_bytes(b"newer")
"""


@pytest.mark.skipif(os.name != "posix", reason="kills with a POSIX signal")
def test_a_kill_at_any_moment_leaves_the_old_folder_or_the_new_one(tmp_path):
    folder = tmp_path / "folder"
    found = []
    for calls in range(40):
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


def _killed_between_renames(folder: Path) -> Path:
    """Leaves what a kill between the two renames of a replacement leaves; where the old one is."""
    partial = folder.with_name(f".{folder.name}.0123456789abcdef.partial")
    _fill(partial / folder.name, NEW)
    (partial / files.MARK).touch()
    _fill(partial.with_suffix(".old"), OLD)
    return partial.with_suffix(".old")


def test_recovery_touches_nothing_that_is_in_place(tmp_path):
    folder = tmp_path / "folder"
    recover_folder(folder)
    assert not folder.exists()
    _fill(folder, NEW)
    _killed_between_renames(folder)
    recover_folder(folder)
    assert _content(folder) == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_unfinished_replacement_is_healed_by_the_next_one_too(tmp_path):
    folder = tmp_path / "folder"
    old = _killed_between_renames(folder)
    assert files.standing(folder) == old
    with pytest.raises(KeyboardInterrupt):
        _break_off(folder, KeyboardInterrupt)
    assert _content(folder) == OLD
    assert files.standing(folder) == folder
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


# What is a stranger's, and what leads elsewhere

RANDOM = "0123456789abcdef"


def _tree(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder, by its path there, without following links."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize(
    "name", ["folder.old", "folder.partial", f".folder.{RANDOM}.old", f".folder.{RANDOM}.partial"]
)
@pytest.mark.parametrize("there_before", [True, False])
def test_strangers_beside_a_folder_stay(tmp_path, name, there_before):
    """Without the mark nothing is ours, whatever its name."""
    _fill(tmp_path / name, {"precious": b"the only copy"})
    folder = tmp_path / "folder"
    assert files.standing(folder) == folder
    if there_before:
        _fill(folder, OLD)
    for _ in range(2):
        recover_folder(folder)
        with new_folder(folder) as partial:
            _fill(partial, NEW)
    expected = {name: None, f"{name}/precious": b"the only copy", "folder": None}
    assert _tree(tmp_path) == expected | {f"folder/{one}": data for one, data in NEW.items()}


def test_the_place_of_a_new_folder_must_be_free_to_the_end(tmp_path):
    folder = tmp_path / "folder"

    def fill() -> None:
        with new_folder(folder, replace=False) as partial:
            _fill(partial, NEW)
            _fill(folder, OLD)  # in the meantime

    with pytest.raises(UserError, match="folder exists"):
        fill()
    assert _tree(tmp_path) == {"folder": None, "folder/a": b"old", "folder/b": b"older"}


def test_what_others_put_into_a_folder_outlives_its_replacement(tmp_path):
    folder = tmp_path / "folder"
    _fill(folder, OLD)
    write_manifest(folder)
    _fill(folder, {"notes.txt": b"mine", "derived": b"ours"})
    (folder / "more").mkdir()
    (folder / "more" / "a").write_bytes(b"mine, too")
    with new_folder(folder, ours=["derived"]) as partial:
        _fill(partial, NEW)
        write_manifest(partial)
    assert set(_tree(folder)) == {*NEW, MANIFEST, "notes.txt", "more", "more/a"}
    check_manifest(folder, "")


@pytest.mark.parametrize("kind", ["link", "dangling", "file"])
def test_a_folder_does_not_take_the_place_of_a_link_or_a_file(tmp_path, kind):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    _fill(elsewhere, OLD)
    if kind == "file":
        folder.write_bytes(b"mine")
    else:
        folder.symlink_to(elsewhere if kind == "link" else tmp_path / "nowhere")
    before = _tree(tmp_path)
    with pytest.raises(UserError, match=r"folder is .*; move it away"), new_folder(folder):
        raise AssertionError("it was begun")
    remove(folder)
    assert _tree(tmp_path) == before


def test_links_in_a_marked_folder_are_removed_and_not_followed(tmp_path):
    folder, precious = tmp_path / "run" / "folder", tmp_path / "precious"
    _fill(precious, OLD)
    for number, name in enumerate(("folder", "extra")):
        partial = folder.with_name(f".folder.{number}{RANDOM[1:]}.partial")
        partial.mkdir(parents=True)
        (partial / files.MARK).touch()
        (partial / name).symlink_to(precious)
        partial.with_suffix(".old").symlink_to(precious)
    folder.mkdir()
    recover_folder(folder)
    assert _content(precious) == OLD
    assert files.standing(folder) == folder


@pytest.mark.parametrize("kind", ["symbolic", "hard", "dangling"])
@pytest.mark.parametrize("name", ["a", "a.partial", f".a.{RANDOM}.partial"])
def test_a_file_is_never_written_through_a_link(tmp_path, kind, name):
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    link = tmp_path / "stranger" / name
    link.parent.mkdir()
    if kind == "hard":
        link.hardlink_to(precious)
    else:
        link.symlink_to(precious if kind == "symbolic" else tmp_path / "nowhere")
    write_file(link.parent / "a", b"new")
    assert (link.parent / "a").read_bytes() == b"new"
    assert not (link.parent / "a").is_symlink()
    assert precious.read_bytes() == b"mine"
    assert {path.name for path in tmp_path.iterdir()} == {"precious", "stranger"}


def _pipe(path: Path) -> None:
    os.mkfifo(path)


ODD = {
    "symbolic": lambda path: path.symlink_to(path.with_name("precious")),
    "dangling": lambda path: path.symlink_to(path.with_name("nowhere")),
    "hard": lambda path: path.hardlink_to(path.with_name("precious")),
    "folder": lambda path: path.mkdir(),
    "pipe": _pipe,
    "device": lambda path: path.symlink_to("/dev/null"),
}


@pytest.mark.skipif(os.name != "posix", reason="makes pipes")
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("mode", ["ab", "r+b", "rb"])
def test_only_a_file_with_one_name_is_opened_as_our_own(tmp_path, kind, mode):
    (tmp_path / "precious").write_bytes(b"mine")
    path = tmp_path / "log"
    ODD[kind](path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"log is a .*move it away"):
        open_own(path, mode)
    with pytest.raises(UserError, match=r"log is a .*move it away"), lock(path, "busy"):
        raise AssertionError("it was locked")
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_appended_stands_behind_what_was_there(tmp_path):
    path = tmp_path / "log"
    for line in (b"one\n", b"two\n"):
        with open_own(path, "ab") as file:
            file.write(line)
    (tmp_path / "usual").touch()
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="makes pipes")
def test_a_file_does_not_take_the_place_of_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"pipe is a pipe; name a file"):
        write_file(tmp_path / "pipe", b"new")
    assert (tmp_path / "pipe").is_fifo()


def test_an_abandoned_file_goes_and_one_that_is_being_written_stays(tmp_path):
    path = tmp_path / "a"
    abandoned = tmp_path / f".a.{RANDOM}.partial"
    abandoned.write_bytes(b"half")
    others = [tmp_path / name for name in ("a.partial", ".a.partial", f".b.{RANDOM}.partial")]
    for other in others:
        other.write_bytes(b"another's")
    with new_file(path) as first:
        first.write(b"first")
        with new_file(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_errors_tell_of_the_file_that_was_to_be_written(tmp_path, monkeypatch):
    def refuse(old: Path, _: Path) -> None:
        raise OSError(28, "No space left on device", str(old))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space") as raised:
        write_file(tmp_path / "page", b"new")
    assert raised.value.filename == str(tmp_path / "page")
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="No space") as raised, new_folder(tmp_path / "model"):
        pass
    assert raised.value.filename == str(tmp_path / "model")
    with pytest.raises(FileNotFoundError) as missing, new_folder(tmp_path / "model") as folder:
        (folder / "deep" / "file").write_bytes(b"")
    assert missing.value.filename == str(tmp_path / "model" / "deep" / "file")


def test_a_link_out_of_the_folder_is_refused_and_the_folder_may_be_one(tmp_path):
    (tmp_path / "disk" / "run" / "inside").mkdir(parents=True)
    run = tmp_path / "run"
    run.symlink_to(tmp_path / "disk" / "run")
    (run / "other").symlink_to("inside")
    (run / "out").symlink_to(tmp_path)
    (run / "round").symlink_to(run / "round")
    for inside in ("inside", "other", "new", "new/deep"):
        check_inside(run / inside, run)
    for outside in ("out", "out/deep", "../run2"):
        with pytest.raises(UserError, match="leads out of"):
            check_inside(run / outside, run)


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
        f"{model} cannot be used: a is missing, b has been altered, c is not a regular file; "
        "copy it again"
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
from typing import Any
from seq2seq import locks

def tell(text):
    print(text, flush=True)

locks.PATIENCE = 0.1
with locks.lock(Path("deep/lock"), wait=lambda: tell("waiting"), tell=tell):
    print("held", flush=True)
"""

HOLDER = """
import sys
from pathlib import Path
from typing import Any
from seq2seq.locks import lock

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
            told = waiter.stdout.readline().decode()
            assert told.startswith(f"still waiting: {Path('deep', 'lock')} may be held by ")
            if Path("/proc/locks").exists():
                assert told.endswith(f"process {holder.pid}\n")
            assert waiter.poll() is None
            if end == "is killed":
                holder.kill()
            else:
                holder.stdin.close()
            assert waiter.stdout.readline() == b"held\n"
            assert waiter.wait() == 0


@pytest.mark.skipif(os.name != "posix", reason="looks at permissions as POSIX has them")
@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o755, 0o600), (0o775, 0o660)])
def test_a_lock_is_for_those_who_may_write_to_its_folder(tmp_path, folder_mode, file_mode):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(folder_mode)
    with lock(folder / "lock"):
        assert (folder / "lock").stat().st_mode & 0o777 == file_mode
        assert holder(folder / "lock")


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


def test_a_system_that_removes_nothing_that_is_open_ends_well(tmp_path, monkeypatch):
    """NFS renames what is removed while it is open, so that its folder is not empty."""
    opened: list[Path] = []
    unlink, lock_file = Path.unlink, files._lock_file

    def locked(file, **more):
        opened.append(Path(file.name))
        return lock_file(file, **more)

    def kept(path: Path, **more: bool) -> None:
        if path in opened and not held[path].closed:
            raise PermissionError(13, "is open", str(path))
        unlink(path, **more)

    held: dict[Path, Any] = {}
    make = open

    def watched(path, *arguments, **more):
        file = make(path, *arguments, **more)
        held[Path(path)] = file
        return file

    monkeypatch.setattr(files, "_lock_file", locked)
    monkeypatch.setattr(files, "open", watched, raising=False)
    monkeypatch.setattr(Path, "unlink", kept)
    for content in ("one", "two"):
        with new_folder(tmp_path / "place") as folder:
            (folder / "a").write_text(content)
    assert opened
    assert (tmp_path / "place/a").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"[]"])
def test_a_folder_whose_manifest_is_odd_is_replaced(tmp_path, content):
    place = tmp_path / "place"
    place.mkdir()
    (place / files.MANIFEST).write_bytes(content)
    with new_folder(place, ours=["a"]) as folder:
        (folder / "a").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert (place / "a").read_text() == "new"
