"""Places that a config may have a file fetched to: below one folder, under the name of data.

Whoever writes a config chooses both the address and the path, so that a path which a shell, Python
or another program reads by itself would run what a server sends. A file that is fetched is never
executable and replaces nothing, but a new `.bash_aliases` or `yaml.py` is enough.
"""

import os
import re
from importlib.machinery import all_suffixes
from pathlib import Path, PurePath

from seq2seq.console import printable
from seq2seq.errors import UserError

ROOT = "SEQ2SEQ_DATA_ROOT"  # names the folder to fetch into instead of the working folder

# Suffixes of what programs load, run or obey by its name. There can be no closed list of what data
# is called, because languages end its names: train.pl is Polish.
EXECUTABLE = """
    py pyc pyd pyi pyo pyw pyx pyz pth egg egg-link ipynb dll dylib exe jar msi so wasm
    bash bashrc bat cjs cmd com command csh desktop fish hta js jse ksh lnk lua mjs php
    ps1 psm1 rb reg scr service sh timer vbe vbs wsf zsh
    applescript chm cpl groovy ko kts node pkl rake scpt url webloc workflow xll
"""
SETTINGS = "cfg cmake conf env gradle ini mk ninja plist properties toml yaml yml"
CODE = {*EXECUTABLE.split(), *SETTINGS.split()}
CODE |= {suffix.rpartition(".")[2] for suffix in all_suffixes()}  # those of this very Python
VERSION = re.compile(r"(\.\d+)+\Z")  # of a library: libm.so.6
# Makefile, Dockerfile, ...; HEAD and config, without which a folder is no repository of git, whose
# config names commands
TOOL_FILE = re.compile(
    "[a-z]*file|head|config|sconstruct|sconscript|wscript|crontab", re.IGNORECASE
)
TOOL_NAMES = {"package.json", "tasks.json", "cmakelists.txt", "meson.build"}
ODD = re.compile(r'[\\:*?"<>|$`]|[. ]\Z|\A[ ~-]')  # what systems or shells read in another way


def destination(path: str) -> Path:
    """Return where a file that has addresses lies: where it is already, or below the root."""
    here = Path(path)
    return here if here.exists() else Path(os.environ.get(ROOT) or "", path)


def check_destination(path: Path) -> None:
    """Raise a UserError unless a file may be fetched to this path."""
    named = os.environ.get(ROOT)
    root = Path(named or "").resolve()
    if not root.is_dir():
        raise _refusal(path, f"{ROOT} names {printable(str(root))}, which is no folder")
    if ".." in path.parts:
        raise _refusal(path, "it has .. in it")
    real = path.resolve()
    if not real.is_relative_to(root) or real == root:
        folder = f"the folder that {ROOT} names" if named else "the working folder"
        raise _refusal(path, f"it is not below {folder}")
    try:
        below = [path.absolute().relative_to(Path(named or "").absolute())]
    except ValueError:
        below = []  # a link to the root is part of the path
    for part in dict.fromkeys(
        part for one in [*below, real.relative_to(root)] for part in one.parts
    ):
        if reason := _why_not_data(part):
            raise _refusal(path, reason)


def _why_not_data(name: str) -> str:
    """Return why a file or folder of this name is not fetched; nothing if it may be data."""
    shown = printable(name)
    if name.startswith("."):
        return f"{shown} begins with a dot, as what other programs read does"
    if ODD.search(name) or not name.isprintable():
        return f"{shown} is an odd name"
    suffix = PurePath(VERSION.sub("", name)).suffix.lower().lstrip(".")
    tool = TOOL_FILE.fullmatch(name) if not suffix else name.lower() in TOOL_NAMES
    if suffix in CODE or tool:
        return f"{shown} is the name of a program or of its settings"
    return ""


def _refusal(path: Path, reason: str) -> UserError:
    return UserError(
        f"{printable(str(path))} is not fetched: {reason}; with urls, path must be a file of data "
        f"below the working folder, or below the folder that the environment variable {ROOT} names"
    )
