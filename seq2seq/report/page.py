"""One self-contained HTML page from a template: its style, its code and its data are inside it.

Templates lie in `templates/` and extend `base.html`, which has the style, the header, and these
blocks to fill: `style`, `lead` (below the heading), `content`, `script`. Whatever a template puts
in is escaped, so a corpus line may well be `<script>`. Beside the entries of `data` it knows:

    {{ inline("chart.js") }}        a file of templates/ or vendor/, inside <style> or <script>
    {{ embed("curves", value) }}    a JSON value, as <script type="application/json" id="curves">;
                                    JSON.parse(document.getElementById("curves").textContent)

A page may load nothing: its own Content-Security-Policy forbids it.
"""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seq2seq.files import to_json

if TYPE_CHECKING:
    from markupsafe import Markup

HERE = Path(__file__).parent
FOLDERS = (HERE / "templates", HERE / "vendor")
MARKUP = {one: f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}  # what could end a script


def page(template: str, title: str, data: Mapping[str, Any]) -> str:
    """The HTML of a page: a template of `templates/`, filled with the entries of `data`.

    `title` is the heading, and what the browser's tab shows. The text can be written as UTF-8
    whatever the data: lone surrogates, which no file can hold, have become U+FFFD.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDERS[0]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals |= {"inline": inline, "embed": embed, "version": version("seq2seq")}
    text = environment.get_template(template).render(data, title=title)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def inline(name: str) -> "Markup":
    """The text of a file of ours, or of a library we carry, to stand inside <style> or <script>."""
    from markupsafe import Markup

    path = next(folder / name for folder in FOLDERS if (folder / name).is_file())
    return Markup(path.read_text(encoding="utf-8"))


def embed(name: str, value: Any) -> "Markup":
    """A JSON value as an element that scripts find by its id; nothing in it can end the element.

    What JSON cannot hold, an infinite number or none, becomes null.
    """
    from markupsafe import Markup, escape

    text = to_json(value, separators=(",", ":"))
    for one, escaped in MARKUP.items():
        text = text.replace(one, escaped)
    start = Markup('<script type="application/json" id="{}">').format(escape(name))
    return start + Markup(text) + Markup("</script>")
