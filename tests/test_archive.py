"""Laws of packed files: whatever the form, what comes out is what was put in, or one message."""

import bz2
import gzip
import io
import lzma
import os
import random
import re
import struct
import sys
import tarfile
import threading
import tracemalloc
import warnings
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seq2seq.errors import UserError
from seq2seq.text.archive import unpacked
from seq2seq.text.inflate import CHUNK

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NO_LIMIT = 10**12
SECRET = random.Random(1).randbytes(3 * CHUNK)  # what cannot be packed smaller
TEXT = b"".join(b"line %d of %x\n" % (n, n * 7919 % 65_537) for n in range(300))


def _zstd(content: bytes) -> bytes:
    options = {zstd.CompressionParameter.checksum_flag: 1}
    return zstd.compress(content, options=options)


def _tar(files: dict[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode=mode, format=form) as opened:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def _around(content: bytes) -> dict[str, bytes]:
    """An archive's files: one before and one behind that which is asked for."""
    return {"a/first": b"first\n" * 99, "a/text": content, f"a/{'long' * 40}": SECRET[:2000]}


def _zip(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as opened:
        for name, data in _around(content).items():
            opened.writestr(name, data)
    return archive.getvalue()


def _twice(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Packs each half, and puts one behind the other."""
    return lambda content: pack(content[: len(content) // 2]) + pack(content[len(content) // 2 :])


PACK = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": _zstd}
ALONE = {
    **PACK,
    **{f"two of {name}": _twice(pack) for name, pack in PACK.items()},
    "gzip and zeros": lambda content: gzip.compress(content) + bytes(1000),
}
PACKED_TAR = {
    f"{name} of tar": lambda content, pack=pack: pack(_tar(_around(content)))
    for name, pack in PACK.items()
}
ZIP = {
    "zip": _zip,
    "stored zip": lambda content: _zip(content, zipfile.ZIP_STORED),
}
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    **ALONE,
    **PACKED_TAR,
    **ZIP,
    "tar": lambda content: _tar(_around(content)),
    "old tar": lambda content: _tar(_around(content), form=tarfile.GNU_FORMAT),
    "gzip in tar": lambda content: _tar(_around(gzip.compress(content))),
    "zstd in gzip of tar": lambda content: gzip.compress(_tar(_around(_zstd(content)))),
    "xz in zip": lambda content: _zip(lzma.compress(content)),
}
# Any bytes, but for how they begin: by that, what is packed is told.
LOOSE = st.binary(max_size=300).map(b"t".__add__)

every_form = pytest.mark.parametrize("form", FORMS)
checked_form = pytest.mark.parametrize("form", [*ALONE, *PACKED_TAR, *ZIP])


def _asked(form: str) -> str | None:
    return "a/text" if "tar" in form or "zip" in form.replace("gzip", "").split() else None


def _read(path: Path, member: str | None = None, limit: int = NO_LIMIT) -> bytes:
    with unpacked(path, member, limit=limit) as stream:
        return b"".join(stream)


def _complaint(path: Path, member: str | None = None, limit: int = NO_LIMIT) -> str:
    with pytest.raises(UserError) as raised:
        _read(path, member, limit)
    return str(raised.value).replace(str(path), "PATH")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"  # whose name tells nothing


@pytest.fixture(scope="module")
def shared_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive") / "file"


@contextmanager
def _brought_by_pipe(path: Path, content: bytes, step: int) -> Iterator[Path]:
    """A pipe into which a thread writes so many bytes at once."""
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)

    def write() -> None:
        with suppress(BrokenPipeError), open(pipe, "wb", buffering=0) as opened:
            for start in range(0, len(content), step):
                opened.write(content[start : start + step])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield pipe
    finally:
        thread.join()
        pipe.unlink()


@contextmanager
def _little_memory(most: int = 8 << 20) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@every_form
@settings(max_examples=20, deadline=None)
@given(content=LOOSE | st.integers(0, 3 * CHUNK).map(lambda size: SECRET[:size]))
@example(content=b"")
@example(content=b"\n\r\n\x85\n")
@example(content=SECRET[: 2 * CHUNK])
@example(content=bytes(5 * CHUNK + 1))
@example(content=TEXT * 99)
def test_what_comes_out_is_what_was_put_in(shared_path, form, content):
    shared_path.write_bytes(FORMS[form](content))
    assert _read(shared_path, _asked(form)) == content


@pytest.mark.parametrize("step", [1, 1000, 1 << 30])
@every_form
def test_a_pipe_is_read_like_a_file(path, form, step):
    with _brought_by_pipe(path, FORMS[form](TEXT[: 4 * step]), step) as pipe:
        if form in ZIP or form == "xz in zip":
            message = "PATH is a zip archive, which no pipe can bring; save it as a file"
            assert _complaint(pipe, "a/text") == message
        else:
            assert _read(pipe, _asked(form)) == TEXT[: 4 * step]


def test_a_gap_between_packed_streams_may_lie_anywhere(path):
    packed_size = len(gzip.compress(SECRET[:CHUNK]))
    for length in range(2 * CHUNK - packed_size - 100, 2 * CHUNK - packed_size + 20, 7):
        first = gzip.compress(SECRET[:length])
        path.write_bytes(first + bytes(64) + gzip.compress(TEXT))
        assert _read(path) == SECRET[:length] + TEXT


@checked_form
def test_a_file_that_was_cut_off_anywhere_is_refused(path, form):
    whole = FORMS[form](TEXT)
    between = len(PACK[form.split()[-1]](TEXT[: len(TEXT) // 2])) if "two of" in form else 0
    end = len(whole) - 1000 if "zeros" in form else len(whole)
    for length in {*range(12, 60), *range(60, end, 53), *range(end - 20, end)} - {between}:
        path.write_bytes(whole[:length])
        assert _complaint(path, _asked(form)) == "PATH is cut off or damaged; fetch it again"


@checked_form
def test_damage_is_noticed_wherever_it_is_or_changes_nothing(path, form):
    whole, messages, places = FORMS[form](TEXT), [], 0
    for place, bit in product(range(14, len(whole), 1 + len(whole) // 100), (0, 7)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        places += 1
        try:
            assert _read(path, _asked(form)) == TEXT
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > places // 4
    assert all(re.search("cut off or damaged|has no file|is packed by", one) for one in messages)


def test_a_second_stream_that_is_damaged_is_not_taken_for_rubbish(path):
    for pack in PACK.values():
        first, second = pack(TEXT), bytearray(pack(TEXT))
        second[0] ^= 1
        path.write_bytes(first + second)
        assert _complaint(path) == "PATH is cut off or damaged; fetch it again"


@pytest.mark.parametrize("form", PACKED_TAR)
def test_damage_far_behind_the_file_that_is_asked_for_is_noticed(path, form):
    archive = _tar({"a/text": TEXT, "behind": SECRET * 2})
    whole = bytearray(PACK[form.split()[0]](archive))
    whole[-5 if form.startswith("gzip") else -len(SECRET)] ^= 1
    path.write_bytes(whole)
    assert _complaint(path, "a/text") == "PATH is cut off or damaged; fetch it again"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_behind_the_damage_of_an_archive_is_not_called_missing(path, pack):
    whole = bytearray(_tar({"a": b"a", "b": b"b"}))
    for content in (whole[:1024], whole[:1100], whole[:1024] + b"x" + whole[1025:]):
        path.write_bytes(pack(content))
        assert _read(path, "a") == b"a"
        assert _complaint(path, "b") == "PATH is cut off or damaged; fetch it again"


@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(["tar", "old tar", "gzip in tar", "zip", "xz in zip"]),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=9),
    near=st.booleans(),
)
def test_whatever_the_bytes_of_an_archive_there_is_text_or_a_message(
    shared_path, form, changes, near
):
    damaged = bytearray(FORMS[form](TEXT))
    for place, value in changes:
        damaged[place % (512 if near else len(damaged))] = value
    shared_path.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with suppress(UserError):
            _read(shared_path, "a/text", limit=10**6)


def test_what_is_no_archive_has_no_members(path):
    for content in (b"", TEXT, gzip.compress(TEXT), bytes(100), b"PK\x03\x04" + TEXT):
        path.write_bytes(content)
        assert _complaint(path, "a/text") == "PATH is cut off or damaged; fetch it again"


@pytest.mark.parametrize("form", ["tar", "gzip of tar", "zip"])
def test_an_archive_needs_a_member(path, form):
    path.write_bytes(FORMS[form](TEXT))
    message = "PATH is an archive; name the file in it to read, as member"
    assert _complaint(path) == message


def test_what_the_reader_of_a_stream_raises_comes_through_unchanged(path):
    path.write_bytes(FORMS["gzip of tar"](TEXT))
    for error in (EOFError(), OSError("no number"), ValueError(), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, unpacked(path, "a/text", limit=NO_LIMIT):
            raise error
        assert raised.value is error


def test_what_the_system_refuses_comes_through_unchanged(path):
    with pytest.raises(FileNotFoundError):
        _read(path)
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        _read(path, "a/text")


def test_who_stops_early_is_not_told_of_damage_further_on(path):
    path.write_bytes(FORMS["gzip of tar"](SECRET)[:-1])
    with unpacked(path, "a/text", limit=NO_LIMIT) as stream:
        assert stream.read(1000) == SECRET[:1000]


# Limits


@checked_form
def test_more_than_the_limit_is_refused_and_the_limit_itself_is_not(path, form):
    content = TEXT * 20
    path.write_bytes(FORMS[form](content))
    unpacked_size = len(_tar(_around(content))) if "tar" in form else len(content)
    assert _read(path, _asked(form), unpacked_size) == content
    assert _complaint(path, _asked(form), unpacked_size - 1) == (
        f"PATH becomes more than {(unpacked_size - 1) / 1e9:g} gigabytes when it is unpacked; "
        "if it is to be so large, raise data.max_unpacked"
    )


def test_what_is_not_packed_has_no_limit(path):
    path.write_bytes(TEXT)
    assert _read(path, limit=1) == TEXT


BOMB = bytes(64 << 20)


@pytest.mark.parametrize("form", [*PACK, "zip", "gzip of tar"])
def test_a_bomb_takes_no_memory(path, form):
    path.write_bytes(FORMS[form](BOMB))
    with (
        _little_memory(most=16 << 20),  # the window of xz alone is 8 MiB
        unpacked(path, _asked(form), limit=len(BOMB) // 2) as stream,
        pytest.raises(UserError, match=r"raise data\.max_unpacked"),
    ):
        deque(iter(lambda: stream.read1(CHUNK), b""), maxlen=0)


def test_a_window_that_takes_much_memory_is_refused(path):
    xz = bytearray(lzma.compress(TEXT))
    size = 4 * (xz[12] + 1)
    xz[16] = 40  # the header of the first block: a dictionary of 4 GiB
    xz[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(xz[12 : 12 + size - 4]))
    window_of_1_gib = b"\x28\xb5\x2f\xfd\x00\xa0" + b"\x19\x00\x00" + b"abc"
    for content in (xz, window_of_1_gib):
        path.write_bytes(content)
        with _little_memory():
            assert _complaint(path) == (
                "PATH needs more memory to be unpacked than packed files usually do; "
                "pack it anew, without a long window or a large dictionary"
            )


def _header(kind: bytes, size: int) -> bytes:
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_without_end_takes_no_memory(path, kind):
    path.write_bytes(gzip.compress(_header(kind, len(BOMB)) + BOMB))
    with _little_memory():
        assert _complaint(path, "a") == "PATH is cut off or damaged; fetch it again"


def test_a_chain_of_headers_ends(path):
    link = _header(tarfile.GNUTYPE_LONGNAME, 1) + b"x".ljust(512, b"\0")
    path.write_bytes(gzip.compress(link * 10_000))
    assert _complaint(path, "a") == "PATH is cut off or damaged; fetch it again"


def test_a_file_of_holes_has_a_limit_too(path):
    head = bytearray(_header(tarfile.GNUTYPE_SPARSE, 0))
    head[386:398], head[398:410], head[483:495] = b"%011o\0" % 10**9, bytes(12), b"%011o\0" % 10**9
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:]))
    path.write_bytes(bytes(head) + bytes(1024))
    with _little_memory():
        assert "becomes more than 0.001 gigabytes" in _complaint(path, "x", limit=10**6)


@pytest.mark.parametrize("seekable", [True, False])
def test_a_header_that_leads_back_ends(path, seekable):
    head = bytearray(_header(tarfile.REGTYPE, 0))
    head[124:136] = struct.pack(">q", -1024).rjust(12, b"\xff")
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:]))
    content = _header(tarfile.REGTYPE, 0) * 2 + bytes(head)
    path.write_bytes(content if seekable else gzip.compress(content))
    assert _complaint(path, "b") == "PATH is cut off or damaged; fetch it again"


def test_any_number_of_files_in_an_archive_takes_no_memory(path):
    path.write_bytes(gzip.compress(_header(tarfile.REGTYPE, 0) * 8_000 + bytes(1024), 1))
    with _little_memory(most=2 << 20):
        assert _complaint(path, "a") == "PATH has no file a; it has: x"


# Members


def test_the_first_file_of_a_name_counts(path):
    path.write_bytes(_tar({"a": b"one"})[:1024] + _tar({"a": b"other"}))
    assert _read(path, "a") == b"one"


def test_a_name_may_begin_with_this_folder(path):
    path.write_bytes(_tar({"./a/text": TEXT}))
    assert _read(path, "a/text") == _read(path, "./a/text") == TEXT
    path.write_bytes(_zip(TEXT))
    assert _read(path, "./a/text") == TEXT


def _archive(names: list[str], form: str, path: Path) -> None:
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, name)
    else:
        path.write_bytes(_tar({name: name.encode() for name in names}, form))


@pytest.mark.parametrize("form", ["w", "w:gz", "zip"])
def test_a_file_that_is_not_there_is_told_from_those_that_are(path, form):
    names = [f"corpus/part-{n}" for n in range(30)]
    _archive([*names, "corpus/news.en", "other/news.de"], form, path)
    shown = ", ".join(["corpus/news.en", "other/news.de", *names[:8]])
    assert _complaint(path, "news.en") == f"PATH has no file news.en; it has: {shown}, ..."
    assert _complaint(path, "corpus/mews.en").startswith(
        "PATH has no file corpus/mews.en; it has: corpus/news.en, "
    )
    _archive(["one", "two"], form, path)
    assert _complaint(path, "three") == "PATH has no file three; it has: one, two"
    _archive(["\x1b[31mred\n"], form, path)
    assert _complaint(path, "x") == r"PATH has no file x; it has: '\x1b[31mred\n'"


def test_an_archive_of_nothing_has_no_file(path):
    _archive([], "zip", path)
    assert _complaint(path, "a") == "PATH has no file a; it has: none"


OUTSIDE = [
    "/etc/passwd",
    "../a",
    "a/../../b",
    "a/..",
    "..",
    "C:/a",
    "c:a",
    "\\a",
    "..\\a",
    "a\\..\\b",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("form", ["w", "w:gz", "zip"])
def test_names_that_lead_out_are_refused(path, form, name):
    _archive(["a", name, "b"], form, path)
    message = f"PATH: {name} leads out of the archive; such files are not read"
    assert _complaint(path, name) == message
    assert _read(path, "b") == b"b"


@pytest.mark.parametrize("name", ["a..b", "..a", "a...", "x:y", "a/.b"])
def test_names_that_do_not_lead_out_are_not(path, name):
    if name == "x:y":
        assert "leads out" in _complaint(_written(path, "w", name), name)
        return
    for form in ("w", "w:gz", "zip"):
        assert _read(_written(path, form, name), name) == name.encode()


def _written(path: Path, form: str, name: str) -> Path:
    _archive([name], form, path)
    return path


KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a link",
    tarfile.DIRTYPE: "a folder",
    tarfile.FIFOTYPE: "no file",
    tarfile.CHRTYPE: "no file",
    tarfile.BLKTYPE: "no file",
    b"Z": "no file",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_no_plain_file_in_a_tar_is_refused(path, kind, pack):
    entry = tarfile.TarInfo("x")
    entry.type, entry.linkname = kind, "b"
    path.write_bytes(pack(entry.tobuf() + _tar({"b": TEXT})))
    message = f"PATH: x is {KINDS[kind]} in the archive; only plain files are read"
    assert _complaint(path, "x") == message
    assert _read(path, "b") == TEXT


@pytest.mark.parametrize(
    ("name", "mode", "kind"),
    [("x", 0o120777, "a link"), ("x/", 0o040755, "a folder"), ("x/", 0, "a folder"),
     ("x", 0o010644, "no file"), ("x", 0o020644, "no file")],
)  # fmt: skip
def test_what_is_no_plain_file_in_a_zip_is_refused(path, name, mode, kind):
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        archive.writestr(entry, "" if name == "x/" else "b")
        archive.writestr("b", TEXT)
    message = f"PATH: x is {kind} in the archive; only plain files are read"
    assert _complaint(path, "x") == message
    assert _read(path, "b") == TEXT


def _with_central(path: Path, offset: int, value: bytes) -> None:
    """Alters the entry of the first file of a zip, in both of its places."""
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + offset : central + offset + len(value)] = value
    content[offset - 2 : offset - 2 + len(value)] = value
    path.write_bytes(content)


def test_encrypted_files_are_refused(path):
    _archive(["x"], "zip", path)
    for flags in (b"\x01", b"\x41"):
        _with_central(path, 8, flags)
        message = "PATH: x is encrypted; unpack it and name the file instead"
        assert _complaint(path, "x") == message


@pytest.mark.parametrize("method", [9, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 93, 99])
def test_files_packed_in_rare_ways_are_refused(path, method):
    _archive(["x"], "zip", path)
    _with_central(path, 10, bytes([method]))
    assert _complaint(path, "x") == (
        f"PATH: x is packed by method {method}, of which only 0 and 8 are read; "
        "unpack it and name the file instead"
    )
