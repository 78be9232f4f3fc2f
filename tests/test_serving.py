"""The HTTP service in docs/exporting.md gives what the model gives."""

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

import seq2seq

PAGE = Path(__file__).parents[1] / "docs" / "exporting.md"


@pytest.fixture
def address(own):
    """Where the program of the page serves the toy run, on a port that was free."""
    [program] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    Path("serve.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "serve.py", "runs/toy", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


def ask(address: str, content: bytes) -> dict:
    """The answer to what is sent."""
    with urlopen(Request(address, data=content), timeout=60) as response:
        assert response.headers["Content-Type"] == "application/json"
        return json.loads(response.read())


def test_what_is_served_is_what_the_model_gives(address):
    lines = ["1 2", "", "3 ü \u2028 4"]
    expected = [one.text for one in seq2seq.load("runs/toy").translate(lines)]
    assert any(expected)
    content = json.dumps({"lines": lines}).encode()
    assert ask(address, content) == {"translations": expected}
    for wrong in (
        b"",
        b"{",
        b"[1]",
        b'{"line": []}',
        b'{"lines": [1]}',
        b'{"lines": null}',
        b"\xff",
    ):
        with pytest.raises(HTTPError, match="400") as raised:
            ask(address, wrong)
        with raised.value as answer:
            assert "send" in json.loads(answer.read())["error"]
    assert ask(address, content) == {"translations": expected}  # it is still there
