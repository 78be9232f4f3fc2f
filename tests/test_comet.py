"""Laws of COMET by its own program: what is handed over, and what becomes of the answer."""

import json
import sys
from pathlib import Path

import pytest

from seq2seq.errors import UserError
from seq2seq.scoring.comet import comet
from seq2seq.scoring.significance import interval

STAND_IN = """\
#!{python}
import json, sys
words = [word for word in sys.argv[1:] if word != "--quiet"]
given = dict(zip(words[::2], words[1::2]))
texts = [open(given[flag], encoding="utf-8").read() for flag in ("-s", "-t", "-r")]
sides = [text.split("\\n")[:-1] for text in texts]
rows = [dict(src=s, mt=t, ref=r, COMET=len(t) / len(r)) for s, t, r in zip(*sides)]
{after}
json.dump({{given["-t"]: rows}}, open(given["--to_json"], "w"))
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a stand-in for comet-score in place of all programs; it may do more."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(after: str = "") -> None:
        path = folder / "comet-score"
        path.write_text(STAND_IN.format(python=sys.executable, after=after), encoding="utf-8")
        path.chmod(0o755)

    return install


def test_lines_are_scored_by_the_program(program, capsys):
    program('assert given["--model"] == "Unbabel/wmt22-comet-da" and given["--gpus"] == "0"')
    score = comet(["eins", "zwei"], ["ab", "abcd ü"], ["abcd", "abcdef"])
    assert score.statistics[:, 0].tolist() == [50, 100]
    assert score.score == 75
    low, high = interval(score)
    assert (low, high) == (50, 100)
    assert "fetched from Hugging Face: 2.3 GB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("sys.exit('no room left')", "comet-score failed, and said: no room left"),
        ("sys.exit(0)", "comet-score failed, and said: nothing"),
        ("rows.pop()", "comet-score scored 1 of 2 lines"),
    ],
)
def test_a_program_that_fails_is_quoted(program, after, said):
    program(after)
    with pytest.raises(UserError, match=said):
        comet(["a", "b"], ["a", "b"], ["a", "b"])


def test_evaluate_asks_for_it_by_name(own, command, program):
    missing = command("evaluate", "--metrics", "comet,bleu", "--json")
    assert missing.code == 1
    assert "comet needs the program comet-score" in missing.err
    assert not Path("runs/toy/evaluation/first.hypotheses.txt").exists()
    program()
    result = command("evaluate", "--metrics", "comet,bleu", "--json")
    assert result.code == 0, result.err
    scores = json.loads(result.out)["sets"]["first"]
    assert [*scores] == ["comet", "bleu"]
    written = Path("runs/toy/evaluation/first.hypotheses.txt").read_text(encoding="utf-8")
    references = Path("first.de").read_text(encoding="utf-8").splitlines()
    shares = [
        len(one) / len(other) for one, other in zip(written.splitlines(), references, strict=True)
    ]
    assert scores["comet"]["score"] == pytest.approx(100 * sum(shares) / len(shares))
    files = ("--hypothesis", "first.de", "--reference", "first.de")
    assert command("evaluate", *files, "--metrics", "comet").code == 2
