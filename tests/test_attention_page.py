"""Laws of `translate --attention`: it shows what the model and its search did, and nothing else."""

import importlib.util
import io
import json
import math
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_forced import SOURCES, model_of

from seq2seq.config import Decoding
from seq2seq.data.tokenizer import BOS, EOS, Tokenizers
from seq2seq.decoding import trace
from seq2seq.decoding.engine import Hypothesis, Request
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.decoding.search import Beam, alive, first_to_go_on, search
from seq2seq.decoding.trace import Dropped, Recorder, Trace, Written, entropies, maps_of
from seq2seq.models import MODELS, select
from seq2seq.report import attention

every_kind = pytest.mark.parametrize("kind", MODELS)
LINES = ["1 2 3", "", "<script>document.title='lost'</script>", "4 & 5 $x$", "7"]
STDIN = "".join(f"{line}\n" for line in LINES).encode()
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
REQUESTS = [
    Request(source, longest=9, number=number)
    for number, source in enumerate((one for one in SOURCES if one), 1)
]


def watched(kind: str, options: Decoding) -> tuple[PyTorch, Recorder]:
    """An engine, and who has watched it translate."""
    engine, recorder = PyTorch(model_of(kind)), Recorder()
    recorder.watch(engine, 4096)
    recorder.expect([one.number for one in REQUESTS])
    found = engine.search(REQUESTS, options)
    recorder.keep(
        Written(request, "", "", some[0]) for request, some in zip(REQUESTS, found, strict=True)
    )
    return engine, recorder


def beams(engine: PyTorch, request: Request, options: Decoding) -> list[set[tuple[int, ...]]]:
    """What a beam search of one line asks to continue: the beam at each step."""
    found = []

    def step(last: Any, state: Any, encoded: Any, rows: Any) -> Any:
        state = select(state, rows)
        spellings = [
            (*(token for token in row if token >= 0), one)
            for row, one in zip(state["spelled"].tolist(), last.tolist(), strict=True)
        ]
        found.append({spelling[1:] for spelling in spellings})
        own = {name: value for name, value in state.items() if name != "spelled"}
        logits, after = engine.model.step(last, own, encoded)
        spelled = torch.cat([state["spelled"], last[:, None]], dim=1)
        return logits, {**after, "spelled": spelled}

    with torch.inference_mode():
        encoded = engine.model.encode(torch.tensor([[*request.source, EOS]]))
        state = engine.model.start(encoded)
        state["spelled"] = torch.full((1, 0), -1)
        search(step, state, encoded, [request], options)
    return found


@every_kind
@pytest.mark.parametrize("groups", [1, 2])
def test_what_is_dropped_was_in_the_beam_and_has_no_heir(kind, groups):
    options = Decoding(beam=4, diversity_groups=groups, engine="pytorch")
    engine, recorder = watched(kind, options)
    dropped_in_all = 0
    for request, one in zip(REQUESTS, recorder.traces, strict=True):
        steps = beams(engine, request, options)
        ended = {tuple(hypothesis.tokens) for hypothesis in one.ended}
        lost = [tuple(some.tokens) for some in one.dropped if not some.unfinished]
        for tokens in lost:
            assert tokens in steps[len(tokens)]
        if groups > 1:
            continue  # two groups may hold the same hypothesis, and one of them drop it
        for length, beam in enumerate(steps[:-1]):
            heirs = {tokens[:-1] for tokens in steps[length + 1]}
            gone = beam - heirs - ended
            assert gone == {tokens for tokens in lost if len(tokens) == length} - ended
        open_still = [tuple(some.tokens) for some in one.dropped if some.unfinished]
        assert {len(tokens) for tokens in open_still} <= {len(steps)}
        dropped_in_all += len(lost)
    assert dropped_in_all > 5 or groups > 1


@every_kind
def test_to_be_watched_changes_nothing(kind):
    options = Decoding(beam=3, n_best=3, engine="pytorch")
    engine, recorder = watched(kind, options)
    plain = PyTorch(model_of(kind)).search(REQUESTS, options)
    for one, some in zip(recorder.traces, plain, strict=True):
        assert one.ended[: options.n_best] == some
    engine.model.forward(torch.tensor([[5, EOS]]), torch.tensor([[BOS]]))
    assert engine.model.attention is None


@every_kind
def test_maps_are_those_of_the_steps_that_search_takes(kind):
    engine, recorder = watched(kind, Decoding(beam=2, engine="pytorch"))
    model = engine.model
    for one in recorder.traces:
        tokens = one.written.hypothesis.tokens
        model.keep_attention()
        with torch.inference_mode():
            encoded = model.encode(torch.tensor([[*one.written.request.source, EOS]]))
            state, rows = model.start(encoded), []
            for last in (BOS, *tokens):
                _, state = model.step(torch.tensor([last]), state, encoded)
                assert model.attention is not None
                rows.append(model.attention[0, :, :, 0].numpy())  # (layers, heads, S + 1)
        model.keep_attention(False)
        stepped = np.stack(rows, axis=2)  # (layers, heads, T + 1, S + 1)
        assert len(one.maps) == len(maps_of(stepped))
        for shown, expected in zip(one.maps, maps_of(stepped), strict=True):
            assert shown.weights == pytest.approx(expected.weights, abs=1e-5)
        assert one.log_probabilities.sum() == pytest.approx(
            one.written.hypothesis.log_probability, abs=1e-4
        )


def test_a_hypothesis_lives_on_in_what_goes_on_and_in_what_has_just_ended():
    torch.manual_seed(1)
    for _ in range(50):
        tokens = torch.randint(EOS, EOS + 3, (3, 6, 4))  # many end, some searches have no others
        scores = torch.randn(3, 6).masked_fill(torch.rand(3, 6) < 0.3, float("-inf"))
        origins = torch.randint(0, 5, (3, 6))
        going_on = first_to_go_on(tokens[:, :, -1], 3)
        expected = torch.zeros(3, 5, dtype=torch.bool)
        for row in range(3):
            for place in range(6):
                ends = bool(tokens[row, place, -1] == EOS)
                counts = place < 3 if ends else place in going_on[row].tolist()
                if counts and scores[row, place] > float("-inf"):
                    expected[row, origins[row, place]] = True
        found = alive(Beam(scores, scores, tokens), origins, going_on, 5)
        assert found.tolist() == expected.tolist()


def test_a_search_that_begins_again_forgets_what_it_dropped():
    recorder = Recorder()
    recorder.expect([7])
    one = Request([5], longest=3, number=7)
    for _ in range(2):
        recorder.begin([one])
        tokens = torch.tensor([[[BOS, 9]]])
        beam = (torch.zeros(1, 1), torch.zeros(1, 1), tokens)
        recorder.drop(beam, torch.ones(1, 1).bool(), torch.tensor([0]), unfinished=False)
    assert [some.tokens for some in recorder._dropped[7]] == [[9]]


def test_entropy_counts_the_pieces_that_are_looked_at_alike():
    for count in (1, 2, 5, 64):
        uniform = np.zeros((3, 70))
        uniform[:, :count] = 1 / count
        assert entropies(uniform) == pytest.approx(np.full(3, math.log2(count)))
    assert entropies(np.array([0.5, 0.25, 0.25])) == pytest.approx(1.5)


def test_maps_are_each_head_and_their_means():
    weights = np.random.default_rng(1).random((3, 2, 4, 5))
    maps = {(one.layer, one.head): one.weights for one in maps_of(weights)}
    assert len(maps) == 1 + 3 + 6
    assert maps[None, None] == pytest.approx(weights.reshape(6, 4, 5).mean(axis=0))
    for layer in range(3):
        assert maps[layer + 1, None] == pytest.approx((weights[layer, 0] + weights[layer, 1]) / 2)
        for head in range(2):
            assert maps[layer + 1, head + 1] == pytest.approx(weights[layer, head])
    assert len(maps_of(weights[:1, :1])) == 1
    assert len(maps_of(weights[:1])) == 1 + 2
    assert len(maps_of(weights[:, :1])) == 1 + 3


@pytest.mark.parametrize(("most", "count"), [(120, 10), (119, 4), (60, 4), (59, 1)])
def test_what_is_too_much_is_shown_in_means(most, count, monkeypatch):
    monkeypatch.setattr(trace, "MOST", most)
    assert len(maps_of(np.ones((3, 2, 4, 5)))) == count


@pytest.fixture(scope="module")
def written(trained_once, command) -> dict[str, Any]:
    """The same lines as a page and as JSON, and what the command said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained_once.folder)
        for path in ("seen.html", "seen.json"):
            result = command("translate", "--attention", path, "--beam", "3", stdin=STDIN)
            assert result.code == 0, result.err
            assert f"is in {path}" in result.err
        plain = command("translate", "--beam", "3", stdin=STDIN)
    assert result.out == plain.out
    value = json.loads((trained_once.folder / "seen.json").read_text(encoding="utf-8"))
    return {"page": trained_once.folder / "seen.html", "value": value, "out": plain.out.decode()}


def test_the_translation_shown_is_the_one_printed(written):
    printed = written["out"].split("\n")
    assert [one["number"] for one in written["value"]["lines"]] == [1, 3, 4, 5]  # one is empty
    for one in written["value"]["lines"]:
        assert one["source"] == LINES[one["number"] - 1]
        assert one["translation"] == printed[one["number"] - 1]


def test_numbers_agree_with_each_other(written):
    assert written["value"]["layout"] == attention.LAYOUT
    for one in written["value"]["lines"]:
        rows, columns = len(one["target_pieces"]), len(one["source_pieces"])
        assert one["source_pieces"][-1] == one["target_pieces"][-1] == "</s>"
        assert len(one["maps"]) == 1 + 2  # one layer of two heads
        likelihood = sum(map(math.log, one["probabilities"]))
        assert likelihood == pytest.approx(one["log_probability"], abs=0.01 * rows)
        for shown in one["maps"]:
            weights = np.array(shown["weights"])
            assert weights.shape == (rows, columns)
            assert weights.sum(axis=1) == pytest.approx(np.ones(rows), abs=0.0006 * columns)
            assert shown["entropies"] == pytest.approx(entropies(weights), abs=0.01 * columns)
            assert shown["entropy"] == pytest.approx(np.mean(shown["entropies"]), abs=1e-3)
        assert one["score"] >= max([other["score"] for other in one["ended"]], default=-1e9)
        assert one["dropped"]


def test_the_page_holds_the_object_of_the_json(written):
    text = written["page"].read_text(encoding="utf-8")
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert held is not None
    assert json.loads(held[1]) == written["value"]
    assert len(text.encode()) < 2_000_000
    assert "<script>document.title" not in text


class Letters:
    """A tokenizer whose pieces are letters."""

    def pieces(self, ids: list[int]) -> list[str]:
        return [chr(97 + one) for one in ids]

    def decode(self, some: list[list[int]]) -> list[str]:
        return ["".join(self.pieces(ids)) for ids in some]


def test_each_piece_has_its_own_probability_and_the_translation_is_not_beside_itself():
    found = [Hypothesis([3, 4], -1.0, -2.0), Hypothesis([5], -3.0, -4.0)]
    written = Written(Request([0, 1, 2], 9, number=6), "line", "text", found[0])
    likelihoods = np.log([0.5, 0.25, 0.125])
    weights = np.full((1, 1, 3, 4), 0.25)
    dropped = [Dropped([7, 7], -5.0, -6.0, True)]
    one = Trace(written, likelihoods, maps_of(weights), found, dropped)
    shown = attention.described(one, Tokenizers(Letters(), Letters()))
    assert (shown["number"], shown["source"], shown["translation"]) == (6, "line", "text")
    assert shown["source_pieces"] == ["a", "b", "c", "</s>"]
    assert dict(zip(shown["target_pieces"], shown["probabilities"], strict=True)) == {
        "d": 0.5,
        "e": 0.25,
        "</s>": 0.125,
    }
    assert shown["ended"] == [{"text": "f", "score": -3.0, "log_probability": -4.0}]
    assert shown["dropped"] == [
        {"pieces": 2, "text": "hh", "score": -5.0, "log_probability": -6.0, "unfinished": True}
    ]
    assert shown["maps"][0]["entropy"] == 2


def test_a_page_stays_under_two_megabytes(trained, command, monkeypatch):
    monkeypatch.setattr(attention, "PAGE", 9_000)
    result = command("translate", "--attention", "few.html", stdin=b"1 2 3 4\n" * 50)
    shown = re.search(r"shows the first (\d+) of 50 lines", result.err)
    assert shown is not None
    text = Path("few.html").read_text(encoding="utf-8")
    assert 1 <= text.count("<option ") == int(shown[1]) < 50


def test_only_so_many_lines_are_watched(trained, command, monkeypatch):
    monkeypatch.setattr(trace, "LINES", 3)
    arguments = ("--attention", "three", "--attention-format", "json", "--buffer", "2")
    result = command("translate", *arguments, stdin=b"1 2\n3\n4 5 6\n7\n8\n")
    assert result.out.count(b"\n") == 5
    assert "three shows the first 3 of 5 lines" in result.err
    assert [one["number"] for one in json.loads(Path("three").read_text())["lines"]] == [1, 2, 3]


def test_a_picture_of_each_line(trained, command):
    pytest.importorskip("matplotlib")
    stdin = "1 2\n3 $ ねこ\n".encode()
    result = command("translate", "--attention", "drawn.png", stdin=stdin)
    assert result.code == 0, result.err
    for name in ("drawn-1.png", "drawn-2.png"):
        assert Path(name).read_bytes().startswith(b"\x89PNG")
    command("translate", "--attention", "one.png", stdin=b"1 2\n")
    assert Path("one.png").exists()


def test_a_dollar_in_a_picture_is_a_dollar():
    pytest.importorskip("matplotlib")
    entry = {
        "maps": [{"weights": [[1.0]]}],
        "source_pieces": ["$\\nonsense$"],
        "target_pieces": ["\x00"],
    }
    figure = attention.picture(entry)
    figure.savefig(io.BytesIO())
    (axes,) = figure.axes
    assert axes.get_xticklabels()[0].get_text() == "$\\nonsense$"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--attention", "a.txt"], 2, "its name must end in .html, .json, .png"),
        (["--attention-format", "json"], 2, "give --attention FILE, too"),
        (["--attention", "a.html", "--split"], 2, "leave out --split"),
        (["--attention", "a.html", "--processes", "2"], 2, "one process"),
        (["--attention", "none/a.html"], 1, "none is no folder"),
        (["--attention", "a.html", "--engine", "ctranslate2"], 1, "what its search drops"),
    ],
)
def test_what_cannot_be_is_said_first(trained, command, arguments, code, message):
    result = command("translate", *arguments, stdin=b"1\n")
    assert (result.code, result.out) == (code, b"")
    assert message in result.err
    assert not Path("a.html").exists()


def test_pictures_say_what_they_need(trained, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = command("translate", "--attention", "a.png", stdin=b"1\n")
    assert result.code == 1
    assert "pip install 'seq2seq[plot]'" in result.err


def test_nothing_to_translate_is_a_page_that_says_so(trained, command):
    assert command("translate", "--attention", "none.html", stdin=b"\n").code == 0
    assert "nothing to translate" in Path("none.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("pip install playwright")
    from playwright.sync_api import sync_playwright

    found = [path for path in map(shutil.which, NAMES) if path]
    if not found:
        pytest.skip("there is no Chromium here; apt-get install chromium")
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found[0], args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser, written) -> Iterator[Callable[..., Any]]:
    """Opens the page; the test fails if a script does, or if anything else is asked for."""
    troubles: list[str] = []
    contexts = []

    def opened(width: int = 1280, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page, own = context.new_page(), written["page"].as_uri()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text))
        page.on("request", lambda one: troubles.append(one.url) if one.url != own else None)
        page.goto(own)
        page.wait_for_selector("#map td")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def weights_shown(page: Any) -> list[list[float]]:
    return page.locator("#map tbody tr").evaluate_all(
        "(all) => all.map((row) => [...row.querySelectorAll('[role=gridcell]')]"
        ".map((cell) => Number(cell.getAttribute('aria-label'))))"
    )


def test_the_page_shows_the_numbers_of_the_json(open_page, written):
    page = open_page()
    for place, line in enumerate(written["value"]["lines"]):
        page.locator("#line").select_option(str(place))
        assert page.locator("#source").text_content() == line["source"]
        assert page.locator("#translation").text_content() == line["translation"]
        assert page.locator("#map thead th").all_text_contents() == [*line["source_pieces"], "bits"]
        assert page.locator("#map tbody th").all_text_contents() == line["target_pieces"]
        for number, one in enumerate(line["maps"]):
            page.locator("#heads input").nth(number).check(force=True)
            assert weights_shown(page) == one["weights"]
            bits = [float(text) for text in page.locator("td.entropy").all_text_contents()]
            assert bits == pytest.approx(one["entropies"], abs=0.006)
            label = page.locator("#heads label").nth(number).text_content()
            assert float(label) == pytest.approx(one["entropy"], abs=0.006)
        page.locator("#heads input").first.check(force=True)
        shares = page.locator("#pieces li").evaluate_all("(all) => all.map((one) => one.dataset)")
        assert [float(one["share"]) for one in shares] == line["probabilities"]
        cells = page.locator("#dropped tbody td:nth-child(2)").all_text_contents()
        assert cells == [one["text"] for one in line["dropped"]]
        cells = page.locator("#ended tbody td:nth-child(2)").all_text_contents()
        scores = [float(text.replace("\N{MINUS SIGN}", "-")) for text in cells]
        assert scores == pytest.approx([one["score"] for one in line["ended"]], abs=0.001)


def test_text_of_the_corpus_is_only_text(open_page):
    page = open_page()
    page.locator("#next").click()
    assert page.locator("#source").text_content() == LINES[2]
    assert page.title() == "What toy looked at · seq2seq"
    assert page.locator("main script").count() == 0


def test_the_mouse_and_the_keys_find_the_weights(open_page, written):
    page = open_page()
    line = written["value"]["lines"][0]
    weights = line["maps"][0]["weights"]
    page.locator("#map td[data-weight]").nth(1).hover()
    assert page.locator("#tip").text_content().endswith(f"{weights[0][1]:.3f}")
    page.locator("#map td[tabindex='0']").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    shown = page.locator("#readout").text_content()
    assert f"{line['target_pieces'][1]} ← {line['source_pieces'][1]} {weights[1][1]:.3f}" in shown
    assert page.locator("#map .here").all_text_contents() == [
        line["source_pieces"][1],
        line["target_pieces"][1],
    ]
    assert page.locator("#map td[tabindex='0']").count() == 1
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.column") == str(len(weights[0]) - 1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(open_page, scheme):
    page = open_page(width=390, scheme=scheme)
    page.locator("#next").click()  # a long line
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
