"""Pages of documentation as a reader follows them: every command works and does what is said."""

import json
import re
import shutil
import socket

import pytest
from walk import ROOT, commands_of, shortened, walk

TUTORIAL = {  # what makes the walk short, and nothing else
    "vocab_size: 1000": "vocab_size: 500",
    "max_updates: 600": "max_updates: 12",
    "validate_every: 200": "validate_every: 6",
    "warmup: 100": "warmup: 4",
    "dim: 128, ffn_dim: 512": "dim: 16, ffn_dim: 32, encoder_layers: 1, decoder_layers: 1",
    "dim: 128, embedding_dim: 128": "dim: 16, embedding_dim: 16",
}
TASKS = {
    "max_updates: 400": "max_updates: 8",
    "max_updates: 500": "max_updates: 8",
    "warmup: 100": "warmup: 2",
    "validate_every: 200": "validate_every: 4",
    "validate_every: 250": "validate_every: 4",
    "dim: 64, ffn_dim: 128": "dim: 16, ffn_dim: 32, encoder_layers: 1, decoder_layers: 1",
}
LOW_RESOURCE = {
    r"vocab_size: \d+": "vocab_size: 400",
    r"max_updates: \d+": "max_updates: 8",
    r"validate_every: \d+": "validate_every: 4",
    r"warmup: \d+": "warmup: 2",
    r"dim: 128, ffn_dim: 512": "dim: 16, ffn_dim: 32",
}
LINES = 120  # of each file of the phrasebook


def phrases(part: str, language: str) -> list[str]:
    """Some lines of the phrasebook, each with its end."""
    path = ROOT / f"data/phrasebook/{part}.{language}"
    return path.read_text(encoding="utf-8").splitlines(keepends=True)[:LINES]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tutorial asks its service by curl")
def test_the_tutorial_works_as_written(tmp_path):
    script = commands_of("docs/tutorial.md", TUTORIAL)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        script = shortened(script, {"8017": str(free.getsockname()[1])})
    folder = tmp_path / "data" / "phrasebook"
    folder.mkdir(parents=True)
    for part in ("train", "valid", "test"):
        for language in ("en", "de"):
            text = "".join(phrases(part, language))
            (folder / f"{part}.{language}").write_text(text, encoding="utf-8")
    run = walk(script, tmp_path)
    made = tmp_path / "tutorial"
    for path in (
        "runs/phrases/best/model.safetensors",
        "runs/phrases/report.html",
        "runs/recurrent/best/model.safetensors",
        "runs/phrases/comparison.html",
        "attention.html",
        "served",
    ):
        assert (made / path).exists(), path
    translated = (made / "test.translated.de").read_text(encoding="utf-8").splitlines()
    assert len(translated) == LINES
    assert run.stdout.splitlines()[-2:] == translated[:2]
    assert len(re.findall(r"^[0-4] \|\|\| ", run.stdout, re.MULTILINE)) == 5 * 3  # n-best
    assert "error" not in run.stdout


def test_the_way_from_few_pairs_works_as_written(tmp_path):
    """With the configs as they are published, but for what makes them small."""
    script = commands_of("docs/low-resource.md", {"2000": "60", "2001": "61"})
    for path in (ROOT / "configs/low-resource").glob("*.yaml"):
        config = path.read_text(encoding="utf-8")
        for given, quick in LOW_RESOURCE.items():
            config = re.sub(given, quick, config)
        (tmp_path / "configs/low-resource").mkdir(parents=True, exist_ok=True)
        (tmp_path / "configs/low-resource" / path.name).write_text(config, encoding="utf-8")
    folder = tmp_path / "data" / "tatoeba"
    folder.mkdir(parents=True)
    for part in ("train", "valid", "test"):
        both = zip(phrases(part, "en"), phrases(part, "de"), strict=True)
        text = "".join(f"{source.rstrip()}\t{target}" for source, target in both)
        (folder / f"{part}.tsv").write_text(text, encoding="utf-8")
    walk(script, tmp_path)
    made = tmp_path / "data/low-resource"
    lines = {path.name: len(path.read_text("utf-8").splitlines()) for path in made.glob("*.??")}
    assert (lines["pairs.en"], lines["plain.de"]) == (60, LINES - 60)
    assert lines["made.en"] == lines["plain.de"]
    pairs = set((made / "shuffled.tsv").read_text("utf-8").splitlines()[:60])
    sides = ((made / f"pairs.{side}").read_text("utf-8").splitlines() for side in ("en", "de"))
    assert {"\t".join(pair) for pair in zip(*sides, strict=True)} == pairs
    for name in ("pairs", "tuned", "backtranslated"):
        scores = tmp_path / f"runs/low-resource-{name}/evaluation/tatoeba.scores.json"
        assert scores.exists(), name


def test_the_toys_of_other_tasks_work_as_written(tmp_path):
    walk(commands_of("docs/tasks.md", TASKS), tmp_path)
    for name, metrics in (
        ("questions", ["exact", "ppl"]),
        ("records", ["bleu", "rougeL", "exact"]),
    ):
        scores = tmp_path / f"runs/{name}/evaluation/{name}.scores.json"
        assert [*json.loads(scores.read_text(encoding="utf-8"))["sets"][name]] == metrics


def test_pages_lead_to_pages_and_name_options_that_there_are():
    from seq2seq.config.documentation import OPTIONS

    sections = {name.split(".")[0] for name in OPTIONS if "." in name}
    for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]:
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
        assert [link for link in links if not (page.parent / link).exists()] == [], page
        named = re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_.0-9]+)", text)
        known = {re.sub(r"^data\.(train|test)\b(\.\w+)?", "data.valid", one) for one in named}
        wrong = {
            one for one in known if one.removesuffix(".") not in {*OPTIONS, *sections, "data.valid"}
        }
        assert not wrong, f"{page}: {wrong}"
