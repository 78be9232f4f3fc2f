"""Files that are what they seem: regular, with one name, in the folder that they belong to.

A folder that came from a stranger may have links, pipes and devices in it, under any name that can
be guessed: what is written through them alters what lies elsewhere.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Literal

from seq2seq.errors import UserError

NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # nor wait for a pipe
UNUSUAL = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def status_of(path: Path) -> os.stat_result | None:
    """What the system says of a path, and not of what it may lead to; None if nothing is there."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def kind_of(path: Path) -> int | None:
    """The kind of what is at a path, as `stat` has it; None if nothing is there."""
    status = status_of(path)
    return None if status is None else stat.S_IFMT(status.st_mode)


def check_own(path: Path, status: os.stat_result | None) -> None:
    """Raises a UserError if something is there that is no regular file with this one name."""
    if status is None:
        return
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        what = UNUSUAL.get(kind, "no file")
    elif status.st_nlink > 1:
        what = "a hard link to a file that has other names, too"
    else:
        return
    raise UserError(f"{path} is {what}, and nothing is written through it; move it away")


def open_own(path: Path, mode: Literal["ab", "r+b", "rb"]) -> BinaryIO:
    """A file that this package alone writes, opened to append ("ab", made if it is absent), to
    alter or to read.

    Raises a UserError, before anything is altered, if it is a link, has another name (a hard link),
    or is no regular file: writing to it would alter what lies elsewhere.
    """
    check_own(path, status_of(path))

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | NO_LINK, 0o666)

    file = open(path, mode, opener=opener)  # noqa: SIM115 (it is returned)
    try:
        check_own(path, os.fstat(file.fileno()))  # it may be another by now
    except BaseException:
        file.close()
        raise
    return file


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; raise an OSError if it is a link, a pipe or a device.

    Other people's folders may hold them: a pipe would block, and a link leads elsewhere.
    """
    refused = OSError(errno.EINVAL, "is not a regular file", str(path))
    if not stat.S_ISREG(path.lstat().st_mode):  # opening a device can have effects of its own
        raise refused
    flags = [getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")]
    file = open(os.open(path, os.O_RDONLY | sum(flags)), "rb")  # noqa: SIM115 (it is returned)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was replaced in between
        file.close()
        raise refused
    return file


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file; raise an OSError if it has more bytes than `limit`."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"is larger than {limit:,} bytes", str(path))
    return content


def check_inside(path: Path, root: Path) -> None:
    """Raises a UserError if a link leads from a folder, which something is to be written into, out
    of the folder that it belongs to.

    That folder itself may be a link: who put it there has chosen where it leads.
    """
    place = Path(os.path.realpath(path))
    if not place.is_relative_to(os.path.realpath(root)):
        raise UserError(
            f"{path} is a link that leads out of {root}, to {place}, and nothing is written there; "
            f"put a folder in its place, or link {root} as a whole"
        )
