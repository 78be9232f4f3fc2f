"""SECURITY.md lists every place that writes, removes, renames or fetches."""

import re
from pathlib import Path

import seq2seq

HOUSE = Path(seq2seq.__file__).parent
ROOT = Path(__file__).parents[1]
CALL = re.compile(
    r"(?<!def )\b(os\.(?:remove|rename|replace|unlink|rmdir|truncate|utime|open|link|symlink)"
    r"|rmtree|shutil\.(?:move|copy2?)|copytree|copyfile|copyfileobj|unlink|rename|rmdir|mkdir|makedirs|touch"
    r"|write_text|write_bytes|tofile|savefig|(?:spec|program)\.save|save_file|symlink_to|hardlink_to"
    r"|SummaryWriter|FileLock|mkdtemp|TemporaryDirectory|NamedTemporaryFile"
    r"|open_own|new_file|new_folder|write_file|write_json|remove"
    r"|load_dataset|get_source_file|urlopen|_opener)\("
    r"""|\b(open)\([^()]*["'](?:[wxa]b?|r\+b|ab" if)["' ]"""
)
NOT_FILES = {"config/schema.py": {"remove"}}  # a list's


def found() -> dict[str, set[str]]:
    """The calls in each module of the package."""
    calls = {}
    for path in sorted(HOUSE.rglob("*.py")):
        name = path.relative_to(HOUSE).as_posix()
        code = path.read_text(encoding="utf-8")
        here = {one[1] or one[2] for one in CALL.finditer(code)} - NOT_FILES.get(name, set())
        if here:
            calls[name] = here
    return calls


def test_every_place_that_writes_removes_or_fetches_is_listed_with_its_guard():
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/]+\.py)` \| (.+?) \| (.+) \|$", page, re.MULTILINE)
    assert {module: set(re.findall(r"`(.+?)`", calls)) for module, calls, _ in rows} == found()
    assert all(guard for *_, guard in rows)
