"""The house is built as its plan says: floors, light doors, words for everything public."""

import ast
import graphlib
import importlib
import inspect
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import seq2seq

HOUSE = Path(seq2seq.__file__).parent
ROOT = Path(__file__).parents[1]

# Who may know whom: a room knows the floors below its own. A new room needs a place here.
FLOORS = [
    {"errors"},
    {"distributed", "layout", "regular"},
    {"files", "locks", "console"},
    {"config"},
    {"text"},
    {"data"},
    {"models"},
    {"runs", "training", "decoding", "scoring"},
    {"origins"},
    {"prepare", "filtering", "python", "evaluation", "average", "export", "overview", "score"},
    {"report"},
    {"translate"},
    {"preview", "validation", "claims"},
    {"train"},
    {"rehearsal"},
    {"flags"},
    {"cli"},
    {"__main__", ""},  # "": the house itself, whose `load` is the way in from Python
]
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def name_of(path: Path) -> str:
    """The module of a file."""
    parts = path.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(HOUSE.rglob("*.py"))}


def room_of(module: str) -> str:
    """The part of the house that a module belongs to; "" for the house itself."""
    return module.split(".")[1] if "." in module else ""


@cache
def imports_of(module: str) -> set[str]:
    """The modules of the house that a module imports, those inside functions too."""
    path = FILES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            origin = importlib.util.resolve_name(origin, package)
            names = {f"{origin}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else origin for name in names}
    return {name for name in found if name.split(".")[0] == "seq2seq"}


@pytest.mark.parametrize("module", FILES)
def test_imports_point_down_only(module):
    own = room_of(module)
    for imported in imports_of(module):
        other = room_of(imported)
        assert other == own or FLOOR[other] < FLOOR[own], f"{module} imports {imported}"


def test_no_imports_go_round_in_a_circle():
    graphlib.TopologicalSorter({module: imports_of(module) for module in FILES}).prepare()


def test_the_front_door_is_light():
    heavy = {"torch", "numpy", "pydantic", "yaml", "sentencepiece", "sacrebleu", "safetensors"}
    code = "import sys, seq2seq, seq2seq.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert not heavy & set(loaded.decode().split())


def test_help_comes_at_once():
    """Half a second is promised; twice that is allowed, because machines are busy."""
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        result = subprocess.run([sys.executable, "-m", "seq2seq", "--help"], capture_output=True)
        seconds.append(time.monotonic() - start)
        assert result.returncode == 0
        assert not result.stderr
        assert all(word in result.stdout for word in (b"prepare", b"train", b"eval", b"translate"))
    assert min(seconds) < 1.0


def public_things(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The module, and its functions, classes, methods and properties without underscore.

    A method that replaces one of a base class is left out: the words stand there.
    """
    yield module.__name__, module
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(thing) or inspect.isfunction(thing):
            yield f"{module.__name__}.{name}", thing
        for part, member in vars(thing).items() if inspect.isclass(thing) else ():
            replaces = any(part in vars(base) for base in thing.__mro__[1:])
            is_code = inspect.isfunction(member) or isinstance(member, property | classmethod)
            if is_code and not replaces and not part.startswith("_"):
                yield f"{module.__name__}.{name}.{part}", member


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("__main__")])
def test_everything_public_says_what_it_is(name):
    for place, thing in public_things(importlib.import_module(name)):
        assert thing.__doc__, place


def test_nothing_is_left_for_later():
    later = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "NotImpl" + "emented"]))
    for path in [*HOUSE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            assert not later.search(line), f"{path}:{number}"


def calls_in(path: Path) -> set[str]:
    """The functions that a file calls, as it names them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_json_is_written_in_one_place():
    """So that no Infinity and no NaN, which JSON does not have, is ever in it."""
    written = {name for name, path in FILES.items() if {"json.dumps", "json.dump"} & calls_in(path)}
    assert written == {"seq2seq.files"}
    for name, path in FILES.items():
        assert "from json import" not in path.read_text(encoding="utf-8"), name


def test_what_people_see_is_made_printable_in_one_place():
    """`print` is left where results are data for other programs, or text of our own."""
    printed = {name for name, path in FILES.items() if "print" in calls_in(path)}
    data = {"config.__main__", "cli", "score", "translate", "overview", "evaluation.evaluate"}
    assert printed == {"seq2seq.console", *(f"seq2seq.{name}" for name in data)}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a clone knows what is tracked")
def test_no_large_file_is_tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert paths
    assert [path for path in paths if path.is_file() and path.stat().st_size > 1 << 20] == []
