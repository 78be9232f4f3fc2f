"""Nothing of the user's is deleted, and nothing is written through a link, by any command."""

import json
import os
import shutil
from pathlib import Path

import pytest

from seq2seq.files import MARK, write_manifest

RANDOM = "0123456789abcdef"
PRECIOUS = b"export PATH=the user's own\n"
MORE = ("--set", "training.max_updates=80")


def tree(folder: Path) -> dict[str, bytes | str | None]:
    """All that is in a folder, links by where they lead; without the files that locks need."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else (path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith(".lock")
    }


@pytest.fixture
def home(tmp_path):
    """A folder of the user's with a file that must stay as it is."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / ".bashrc").write_bytes(PRECIOUS)
    yield folder
    assert tree(folder) == {".bashrc": PRECIOUS}


# Prepared folders

CORPORA = [
    "train/corpus.en",
    "valid/source.ids.npy",
    "watch/second/corpus.en",
    "work/notes.txt",
    f"work/{RANDOM}/notes.txt",
    "tokenizer.model",
    "tokenizer.source.model",
    "train",
]
WATCH = ("--set", "data.watch={second: {source: second.digits, target: second.de}}")


def put(path: Path) -> None:
    """Writes a file of the user's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PRECIOUS)


@pytest.mark.parametrize("manifest", [None, '{"name": "app"}', "{", "[]"])
@pytest.mark.parametrize("name", [*CORPORA, "stdin.tsv", "other.txt"])
def test_a_folder_that_was_not_prepared_is_left_as_it_is(own, command, name, manifest):
    put(Path("data", name))
    if manifest is not None:
        Path("data/manifest.json").write_text(manifest)
    before = tree(own)
    result = command("prepare", "toy.yaml", "--set", "data.prepared=data", *WATCH)
    assert (result.code, result.out) == (1, b"")
    assert "data is where prepared data is to lie" in result.err
    assert "data.prepared" in result.err
    assert tree(own) == before


@pytest.mark.parametrize("name", [*CORPORA, "train/notes.txt"])
def test_in_a_prepared_folder_only_what_its_manifest_names_is_ours(own, command, name):
    shutil.rmtree("prepared")
    assert command("prepare", "toy.yaml").code == 0
    found = json.loads(Path("prepared/manifest.json").read_bytes())
    if name != "train/notes.txt":
        part = "tokenizer" if name.startswith("tokenizer") else name.partition("/")[0]
        files = found["parts"].pop(part, {"files": {}})["files"]
        for file in files:
            shutil.rmtree(Path("prepared", part), ignore_errors=True)
            Path("prepared", file).unlink(missing_ok=True)
        Path("prepared/manifest.json").write_text(json.dumps(found))
    put(Path("prepared", name))
    before = tree(own)
    result = command("prepare", "toy.yaml", *WATCH)
    assert result.code == 1
    assert f"{Path('prepared', name)} is where prepared data is to lie" in result.err
    assert tree(own) == before
    Path("prepared", name).unlink()
    for folder in ("work", f"work/{RANDOM}"):
        shutil.rmtree(Path("prepared", folder), ignore_errors=True)
    assert command("prepare", "toy.yaml", *WATCH).code == 0


@pytest.mark.parametrize("name", ["train", "watch", "watch/second", "work"])
def test_a_link_that_leads_out_of_a_prepared_folder_is_refused(own, command, home, name):
    shutil.rmtree(Path("prepared", name), ignore_errors=True)
    Path("prepared", name).parent.mkdir(exist_ok=True)
    Path("prepared", name).symlink_to(home)
    result = command("prepare", "toy.yaml", *WATCH)
    assert result.code == 1
    assert "is a link that leads out of prepared" in result.err


def test_a_prepared_folder_may_be_a_link_itself(own, command, tmp_path):
    (tmp_path / "disk").mkdir()
    Path("elsewhere").symlink_to(tmp_path / "disk")
    for _ in range(2):
        assert command("prepare", "toy.yaml", "--set", "data.prepared=elsewhere").code == 0
    assert Path("elsewhere").is_symlink()
    assert {"manifest.json", "train", "valid"} <= {
        path.name for path in (tmp_path / "disk").iterdir()
    }


def test_a_tokenizer_of_the_users_own_beside_ours_stays(own, command):
    put(Path("prepared/tokenizer.mine.model"))
    result = command("prepare", "toy.yaml", "--set", "tokenizer.vocab_size=310")
    assert result.code == 0
    assert Path("prepared/tokenizer.mine.model").read_bytes() == PRECIOUS


# Exports and averages

OUTPUTS = {
    "export": ("export", "runs/toy", "--to", "safetensors", "--output", "served"),
    "average": ("average", "runs/toy", "--last", "2", "--output", "served"),
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_lies_beside_an_output_stays(own, command, home, name, kind):
    beside = [
        Path(one)
        for one in ("served.old", "served.partial", ".served.partial", f".served.{RANDOM}.partial")
    ]
    for path in beside:
        if kind == "folder":
            put(path / "model.safetensors")
        elif kind == "file":
            put(path)
        else:
            path.symlink_to(home if path.name.endswith(".old") else home / ".bashrc")
    before = tree(own)
    for _ in range(2):
        result = command(*OUTPUTS[name])
        assert result.code == 0, result.err
        assert command("translate", "--model", "served", stdin=b"1\n").code == 0
        shutil.rmtree("served")
    assert tree(own) == before


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("kind", ["folder", "empty", "file", "link", "dangling"])
def test_an_output_that_is_there_is_refused(own, command, home, name, kind):
    if kind in ("folder", "empty"):
        Path("served").mkdir()
    if kind == "folder":
        put(Path("served/notes.txt"))
    elif kind == "file":
        put(Path("served"))
    elif kind != "empty":
        Path("served").symlink_to(home if kind == "link" else "nowhere")
    before = tree(own)
    result = command(*OUTPUTS[name])
    assert result.code == 1
    assert "served exists; give --output a name that is still free" in result.err
    assert tree(own) == before


# Runs


@pytest.mark.parametrize("name", ["checkpoints", "best", "tensorboard", "evaluation"])
def test_a_link_that_leads_out_of_a_run_is_refused(own, command, home, name):
    shutil.rmtree(Path("runs/toy", name), ignore_errors=True)
    Path("runs/toy", name).symlink_to(home)
    result = command("train", "toy.yaml", *MORE)
    assert result.code == 1
    assert f"runs/toy/{name} is a link that leads out of runs/toy" in result.err


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.jsonl"])
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_logs_are_not_written_through_links(own, command, home, name, kind):
    log = Path("runs/toy", name)
    log.unlink()
    if kind == "hard":
        log.hardlink_to(home / ".bashrc")
    else:
        log.symlink_to(home / ".bashrc")
    result = command("train", "toy.yaml", *MORE)
    assert result.code == 1
    assert f"runs/toy/{name} is a " in result.err
    assert "nothing is written through it; move it away" in result.err


@pytest.mark.parametrize("name", ["environment.json", "config.yaml", "finished.json"])
@pytest.mark.parametrize("suffix", ["", ".partial"])
def test_files_of_a_run_replace_links_and_do_not_follow_them(own, command, home, name, suffix):
    file = Path("runs/toy", f"{name}{suffix}")
    if name == "config.yaml" and not suffix:
        pytest.skip("a run is read by its config")
    if name == "finished.json" and not suffix:
        pytest.skip("it is read")
    file.unlink(missing_ok=True)
    file.symlink_to(home / ".bashrc")
    assert command("train", "toy.yaml", *MORE).code == 0


def test_a_run_and_all_runs_may_be_links(own, command, tmp_path):
    shutil.move("runs/toy", tmp_path / "toy")
    Path("runs/toy").symlink_to(tmp_path / "toy")
    assert command("train", "toy.yaml", *MORE).code == 0
    shutil.move("runs", tmp_path / "all")
    Path("runs").symlink_to(tmp_path / "all")
    assert command("train", "toy.yaml", "--set", "training.max_updates=100").code == 0
    assert command("evaluate", "runs/toy", "--set", "evaluation.metrics=[exact]").code == 0
    assert (tmp_path / "toy" / "checkpoints" / "step-00000100").is_dir()
    assert Path("runs/toy").is_symlink()


def test_a_folder_of_the_users_is_not_taken_for_a_run(own, command):
    shutil.rmtree("runs/toy")
    put(Path("runs/toy/metrics.jsonl"))
    put(Path("runs/toy/best/thesis.txt"))
    before = tree(own / "runs")
    result = command("train", "toy.yaml")
    assert result.code == 1
    assert "runs/toy is no run: it has best, but no config.yaml; move it away" in result.err
    assert tree(own / "runs") == before


def test_fresh_moves_aside_without_replacing_anything(own, command, home):
    Path("runs/toy.1").symlink_to("nowhere")
    put(Path("runs/toy.2"))
    Path("runs/toy.3").mkdir()
    put(Path("runs/toy/notes.txt"))
    result = command("train", "toy.yaml", "--fresh", "--set", "training.max_updates=20")
    assert result.code == 0
    assert "the old run is now runs/toy.4" in result.err
    assert os.readlink("runs/toy.1") == "nowhere"
    assert Path("runs/toy.2").read_bytes() == PRECIOUS
    assert Path("runs/toy.3").is_dir()
    assert Path("runs/toy.4/notes.txt").read_bytes() == PRECIOUS


def test_checkpoints_and_models_with_the_users_files_lose_none(own, command, home):
    """Pruning keeps checkpoints that somebody put something into, or that are only links."""
    notes = [Path("runs/toy", one) for one in ("checkpoints/step-00000020/notes.txt", "best/n.txt")]
    checkpoints = Path("runs/toy/checkpoints")
    Path("runs/toy/checkpoints/step-00000000").symlink_to(home)
    for path in notes:
        put(path)
    for updates in (80, 100, 120):
        assert command("train", "toy.yaml", "--set", f"training.max_updates={updates}").code == 0
    assert "step-00000040" not in {path.name for path in checkpoints.iterdir()}
    assert all(path.read_bytes() == PRECIOUS for path in notes)
    assert os.readlink("runs/toy/checkpoints/step-00000000") == str(home)


def test_a_lock_that_is_a_link_is_refused(own, command, home):
    for lock, words in {
        "runs/.toy.lock": ("train", "toy.yaml", *MORE),
        "prepared/.lock": ("prepare", "toy.yaml"),
    }.items():
        Path(lock).unlink(missing_ok=True)
        Path(lock).symlink_to(home / ".bashrc")
        result = command(*words)
        assert result.code == 1
        assert f"{lock} is a link" in result.err
        assert command("runs").code == 0
        Path(lock).unlink()


def test_a_linked_lock_of_a_conversion_is_not_truncated(own, command, home):
    Path("runs/toy/best/.ctranslate2.lock").symlink_to(home / ".bashrc")
    command("translate", "--set", "decoding.engine=auto", stdin=b"1\n")


# Results


@pytest.mark.parametrize("kind", ["symbolic", "hard", "dangling"])
def test_results_are_not_written_through_links(own, command, home, kind):
    names = [
        f"{folder}{name}{suffix}"
        for folder, name in [
            ("evaluation/", "first.hypotheses.txt"),
            ("evaluation/", "first.scores.json"),
            ("", "report.html"),
        ]
        for suffix in ("", ".partial", ".part")
    ]
    for name in names:
        path = Path("runs/toy", name)
        path.parent.mkdir(exist_ok=True)
        if kind == "hard":
            path.hardlink_to(home / ".bashrc")
        else:
            path.symlink_to(home / (".bashrc" if kind == "symbolic" else "new"))
    Path("runs/toy/evaluation/first.scores.json").unlink()  # which is read, too
    assert command("evaluate", "runs/toy", "--set", "evaluation.metrics=[exact]").code == 0
    assert command("report", "runs/toy").code == 0
    assert b"<html" in Path("runs/toy/report.html").read_bytes()
    assert not Path("runs/toy/report.html").is_symlink()


def test_results_of_a_run_do_not_go_through_a_linked_folder(own, command, home):
    Path("runs/toy/evaluation").symlink_to(home)
    result = command("evaluate", "runs/toy")
    assert result.code == 1
    assert "runs/toy/evaluation is a link that leads out of runs/toy" in result.err


@pytest.mark.skipif(os.name != "posix", reason="makes pipes")
def test_a_pipe_is_not_replaced_by_a_report(own, command):
    os.mkfifo("page")
    result = command("report", "runs/toy", "--output", "page")
    assert result.code == 1
    assert "page is a pipe; name a file to write to" in result.err
    assert Path("page").is_fifo()


def test_resuming_leaves_a_file_that_is_not_of_its_input(own, command):
    Path("in.txt").write_bytes(b"1\n2\n")
    Path("notes.txt").write_bytes(b"one\ntwo\nthree\nlast line without its end")
    before = tree(own)
    result = command("translate", "--input", "in.txt", "--output", "notes.txt", "--resume")
    assert result.code == 1
    assert "notes.txt has 3 lines, but in.txt only 2" in result.err
    assert tree(own) == before


def test_a_killed_replacement_of_the_best_model_is_completed(own, command):
    """What a kill leaves goes with the next training, and a stranger's folder of the like stays."""
    for name in ("theirs", "ours"):
        number = "0" if name == "ours" else "1"
        partial = Path(f"runs/toy/.best.{number}{RANDOM[1:]}.partial")
        shutil.copytree("runs/toy/best", partial / "best")
        if name == "ours":
            (partial / MARK).touch()
            Path("runs/toy/best").rename(partial.with_suffix(".old"))
            write_manifest(partial / "best")
    assert command("train", "toy.yaml", *MORE).code == 0
    left = sorted(path.name for path in Path("runs/toy").glob(".best.*"))
    assert left == [f".best.1{RANDOM[1:]}.partial"]


@pytest.mark.parametrize(
    "content",
    [b'{"format": 2, "parts": [], "files": [], "pairs": []}', b"[" * 100_000, b'{"format": 2}'],
)
def test_a_manifest_of_another_form_is_no_manifest(own, command, content):
    Path("theirs").mkdir()
    Path("theirs/manifest.json").write_bytes(content)
    Path("theirs/notes.txt").write_text("mine")
    result = command("prepare", "toy.yaml", "--set", "data.prepared=theirs")
    assert result.code == 1
    assert "Traceback" not in result.err
    assert Path("theirs/notes.txt").read_text() == "mine"
