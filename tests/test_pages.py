"""Laws of pages as a browser shows them: a Chromium that is here, without a network."""

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RUN = Path("runs/toy")
HOSTILE = ["<script>document.title='lost'</script>", "</script><b id=lost>", "&lt;i&gt;", "x" * 300]
PHONE, DESK = {"width": 390, "height": 800}, {"width": 1280, "height": 900}
CONTRAST = 4.5  # of text and what is behind it, WCAG 2.2 AA
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    found = [path for path in map(shutil.which, NAMES) if path]
    if not found:
        pytest.skip("there is no Chromium here; apt-get install chromium")
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found[0], args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(trained_once, tmp_path_factory, command) -> dict[str, Path]:
    """A page of a run with hostile text in it, and one of two runs."""
    folder = tmp_path_factory.mktemp("pages") / "toy"
    shutil.copytree(trained_once.untouched, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert command("evaluate", "--set", "evaluation.metrics=[bleu,chrf]").code == 0
        with open(RUN / "samples.jsonl", "a", encoding="utf-8") as file:
            for number, text in enumerate(HOSTILE):
                one = {"update": 60, "source": text, "reference": text, "ours": text}
                for update in (20, 60):
                    changed = {**one, "update": update, "ours": f"{text} {update * number}"}
                    file.write(json.dumps(changed) + "\n")
        path = Path("prepared/manifest.json")
        manifest = json.loads(path.read_text())
        corpus = manifest["parts"]["train"]["corpora"][0]
        corpus["dropped"] = [{"rule": HOSTILE[0], "pairs": 3, "examples": HOSTILE}]
        corpus["text"] = HOSTILE
        path.write_text(json.dumps(manifest))
        shutil.copytree(RUN, "runs/other")
        assert command("report", RUN).code == 0
        assert command("report", RUN, "runs/other").code == 0
    return {name: folder / RUN / f"{name}.html" for name in ("report", "comparison")}


@pytest.fixture(params=["report", "comparison"])
def name(request) -> str:
    return request.param


@pytest.fixture
def show(browser, pages):
    """Opens a page; it is over for the test if a script fails or anything else is asked for."""
    contexts, troubles = [], []

    def shown(name: str, *, size=DESK, scheme="light") -> Any:
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        own = pages[name].as_uri()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text))
        page.on("dialog", lambda dialog: troubles.append(dialog.message))
        page.on("request", lambda one: troubles.append(one.url) if one.url != own else None)
        page.goto(own)
        page.wait_for_selector(".chart svg")
        return page

    yield shown
    for context in contexts:
        context.close()
    assert troubles == []


def open_all(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")


def judged(pages: dict[str, Path]) -> list[dict]:
    log = pages["report"].parent / "metrics.jsonl"
    records = map(json.loads, log.read_text().splitlines())
    return [one for one in records if "valid" in one]


def test_every_chart_is_drawn_and_told(show, name):
    page = show(name)
    charts = page.locator(".chart").count()
    assert charts == {"report": 9, "comparison": 8}[name]
    assert page.locator(".chart > svg[role=img]").count() == charts
    labels = page.locator(".chart > svg").evaluate_all(
        "(all) => all.map((one) => one.getAttribute('aria-label'))"
    )
    assert all(any(letter.isdigit() for letter in label) for label in labels)


@pytest.mark.parametrize("axis", ["update", "minutes"])
def test_dots_lie_where_the_log_has_them(show, pages, axis):
    page = show("report")
    page.locator(f"input[value={axis}]").check(force=True)
    dots = page.locator("#chart-bleu circle")
    places = np.array(
        dots.evaluate_all("(all) => all.map((one) => [one.cx.baseVal.value, one.cy.baseVal.value])")
    )
    records = judged(pages)
    seen = [one["update"] if axis == "update" else one["seconds"] for one in records]
    scores = [one["valid"]["bleu"] for one in records]
    for values, drawn in ((seen, places[:, 0]), (scores, -places[:, 1])):
        fitted = np.polyval(np.polyfit(values, drawn, 1), values)
        assert np.abs(fitted - drawn).max() < 0.1  # of a pixel
        assert np.ptp(drawn) > 20
    label = page.locator("#chart-bleu svg").text_content()
    assert ("minutes" in label) == (axis == "minutes")


def test_hovering_tells_the_number(show, pages):
    page = show("report")
    page.locator("#chart-bleu circle").last.hover(force=True)
    tip = page.locator("#chart-bleu [aria-label=tip]").text_content()
    last = judged(pages)[-1]
    assert f"{last['valid']['bleu']:.2f}" in tip or f"{last['valid']['bleu']:.3g}" in tip
    assert f"update {last['update']}" in tip


def test_the_keyboard_reaches_the_switch(show):
    page = show("report")
    page.locator("input[value=update]").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("input[value=minutes]").is_checked()
    assert "minutes" in page.locator("#chart-loss svg").text_content()


def test_text_of_a_corpus_is_text(show):
    page = show("report")
    open_all(page)
    assert page.title() == "toy · seq2seq"
    assert page.locator("#lost").count() == 0
    for place in (".sample .given", ".examples li"):
        assert set(HOSTILE) <= set(page.locator(place).all_text_contents())


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_no_page_scrolls_sideways(show, name, size):
    page = show(name, size=size)
    open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_charts_follow_the_width_of_the_window(show):
    page = show("report")
    before = page.locator("#chart-loss svg").bounding_box()["width"]
    page.set_viewport_size(PHONE)
    page.wait_for_function(
        f"document.querySelector('#chart-loss svg').getBoundingClientRect().width < {before}"
    )
    page.wait_for_function(
        "[...document.querySelectorAll('.chart')].every("
        "(one) => one.firstChild.getBoundingClientRect().width <= one.clientWidth + 1)"
    )


TEXTS = """() => {
  const luminance = (colour) => {
    const [red, green, blue] = colour.map((one) => {
      const part = one / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || one.closest("script, style, [aria-hidden]")) continue;
    if (!one.getClientRects().length) continue;
    const style = getComputedStyle(one);
    const front = numbers(one.closest("svg") ? style.fill : style.color);
    let behind = [255, 255, 255, 0];
    for (let place = one; place && !behind[3]; place = place.parentElement) {
      const [red, green, blue, alpha = 1] = numbers(getComputedStyle(place).backgroundColor);
      behind = [red, green, blue, alpha];
    }
    const [dark, light] = [luminance(front), luminance(behind)].sort((a, b) => a - b);
    found.push([(light + 0.05) / (dark + 0.05), walker.currentNode.data.trim().slice(0, 40)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(show, name, scheme):
    page = show(name, scheme=scheme)
    open_all(page)
    texts = page.evaluate(TEXTS)
    assert len(texts) > 100
    assert [text for contrast, text in texts if contrast < CONTRAST] == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_page_is_made_for_those_who_do_not_see_it(show, name):
    page = show(name)
    open_all(page)
    levels = page.locator("h1, h2, h3, h4").evaluate_all(
        "(all) => all.map((one) => +one.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.evaluate("document.documentElement.lang") == "en"
    ids = page.locator("[id]").evaluate_all("(all) => all.map((one) => one.id)")
    assert len(ids) == len(set(ids))
    targets = page.locator("nav a").evaluate_all("(all) => all.map((one) => one.hash.slice(1))")
    assert set(targets) <= set(ids)
    assert page.locator("input:not(label input)").count() == 0
    assert page.locator(".scroll:not([tabindex='0'][role=region][aria-label])").count() == 0
    assert page.locator("thead th:not([scope])").count() == 0
