"""What packed files unpack to, as streams: gzip, bzip2, xz and zstd, told by how they begin.

The libraries' own file objects are not strict: those of bz2 and lzma take a damaged second stream
for rubbish at the end and leave it out without a word. Ours find damage wherever it is, bound what
a file may become, and hold no more than a chunk of it in memory.
"""

import bz2
import errno
import io
import lzma
import re
import sys
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from seq2seq.errors import UserError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 1 << 17  # bytes that are read at once
GIGABYTE = 10**9
XZ_MEMORY = 256 << 20  # bytes; four times what `xz -9` needs


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Says of whatever a library raises that the file is damaged; hostile bytes raise anything."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the system's, not a library's, nor that of a header which leads nowhere
        if isinstance(error, lzma.LZMAError | zstd.ZstdError) and "memory" in str(error).lower():
            raise UserError(
                f"{path} needs more memory to be unpacked than packed files usually do; "
                "pack it anew, without a long window or a large dictionary"
            ) from None
        raise UserError(f"{path} is cut off or damaged; fetch it again") from None


class Raw(io.RawIOBase):
    """A stream that fills what is asked for unless it comes to its end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view, filled = memoryview(buffer), 0
        with damage_named(self.path):
            while filled < len(view) and (count := self.some(view[filled:])):
                filled += count
        return filled

    @abstractmethod
    def some(self, view: memoryview) -> int:
        """Puts a byte or more into the view; returns how many, 0 at the end."""


class Filled(Raw):
    """What a pipe brings."""

    def __init__(self, path: Path, pipe: io.RawIOBase | io.FileIO) -> None:
        super().__init__(path)
        self.pipe = pipe

    def some(self, view: memoryview) -> int:
        return self.pipe.readinto(view) or 0


class Limited(Raw):
    """A stream that raises a UserError if it becomes longer than allowed."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(path)
        self.limit, self.left = limit, limit

    def some(self, view: memoryview) -> int:
        count = self.unpack(view)
        self.left -= count
        if self.left < 0:
            raise UserError(
                f"{self.path} becomes more than {self.limit / GIGABYTE:g} gigabytes when it is "
                "unpacked; if it is to be so large, raise data.max_unpacked"
            )
        return count

    @abstractmethod
    def unpack(self, view: memoryview) -> int:
        """Puts a byte or more into the view; returns how many, 0 at the end."""


class _Decoder(Protocol):
    """What bz2, lzma and zstd have in common: unpacks one of the streams that make up a file."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    """A decoder for gzip; zlib checks length and checksum."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


def _xz() -> _Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


# How a packed file begins, what unpacks it, and whether zeros may fill it up.
DECODERS: list[tuple[re.Pattern[bytes], Callable[[], _Decoder], bool]] = [
    (re.compile(rb"\x1f\x8b"), _Gzip, True),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2Decompressor, False),
    (re.compile(rb"\xfd7zXZ\x00"), _xz, True),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), zstd.ZstdDecompressor, False),
]


class Inflated(Limited):
    """What a packed file unpacks to, through all the streams that it is made of."""

    def __init__(
        self,
        path: Path,
        packed: io.BufferedReader,
        limit: int,
        new_decoder: Callable[[], _Decoder],
        padding: bytes,
    ) -> None:
        super().__init__(path, limit)
        self.packed, self.new_decoder, self.padding = packed, new_decoder, padding
        self.decoder = new_decoder()

    def unpack(self, view: memoryview) -> int:
        while True:
            data = b""
            if self.decoder.eof:
                if not (data := self._next_stream()):
                    return 0
                self.decoder = self.new_decoder()
            elif self.decoder.needs_input and not (data := self.packed.read1(CHUNK)):
                raise EOFError
            if unpacked := self.decoder.decompress(data, len(view)):
                view[: len(unpacked)] = unpacked
                return len(unpacked)

    def _next_stream(self) -> bytes:
        """The first bytes of the next stream; none at the end of the file."""
        data = self.decoder.unused_data.lstrip(self.padding)
        while not data and (read := self.packed.read1(CHUNK)):
            data = read.lstrip(self.padding)
        return data


def inflated(path: Path, stream: io.BufferedReader, limit: int) -> io.BufferedReader:
    """A stream as it is, or what it unpacks to if it is packed."""
    start = stream.peek()
    for magic, new_decoder, padded in DECODERS:
        if magic.match(start):
            padding = b"\0" if padded else b""
            return io.BufferedReader(Inflated(path, stream, limit, new_decoder, padding), CHUNK)
    return stream
