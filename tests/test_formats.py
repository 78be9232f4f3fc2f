"""Laws of the formats: what is written is read, each row in its place, and nothing is trusted."""

import io
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from html import escape

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seq2seq.errors import UserError
from seq2seq.text import exchange, rows
from seq2seq.text.formats import (
    PAIRS,
    SIDES,
    Pair,
    Reading,
    Unreadable,
    format_of,
)

ODD = ["\r", "\n", "\t", " ", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\ufeff", '"', "\\", "\0"]
ODD += ["&", "<", ">", "&amp;", "</seg>", "]]>", "{", "ä", "𝄞", "msgid", "#", "'"]
TEXT = st.lists(st.sampled_from(ODD) | st.text(max_size=3), max_size=8).map("".join)
LINE = TEXT.map(lambda text: text.encode("utf-8", "ignore").decode())  # no lone surrogates


NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _one_line(text: str) -> str:
    return text.replace("\r\n", " ").replace("\r", " ").replace("\n", " ")


def _collapsed(text: str) -> str:
    return " ".join(text.split())


def _xml(text: str) -> str:
    """Text as XML writes it."""
    return escape(NOT_IN_XML.sub("", text)).replace("\r", "&#13;")


def _po(text: str) -> str:
    for character, escaped in [("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")]:
        text = text.replace(character, escaped)
    return f'"{text}"'


def read_side(form: str, content: bytes, name: str = "f") -> list[str | Unreadable]:
    return list(SIDES[form](io.BytesIO(content), name))


def read(
    form: str,
    content: bytes | str,
    fields: list[str | int] | None = None,
    languages: tuple[str, str] = ("en", "de"),
) -> list[Pair | Unreadable]:
    data = content.encode() if isinstance(content, str) else content
    return list(PAIRS[form](io.BytesIO(data), Reading("f", fields, languages)))


def tmx(*units: dict[str, str], head: str = "") -> str:
    variants = [
        "".join(f'<tuv xml:lang="{code}"><seg>{seg}</seg></tuv>' for code, seg in unit.items())
        for unit in units
    ]
    body = "\n".join(f"<tu>{unit}</tu>" for unit in variants)
    return f'<?xml version="1.0"?>\n{head}<tmx version="1.4"><body>{body}</body></tmx>\n'


def xliff(*units: tuple[str, str], source: str = "en", target: str | None = "de") -> str:
    codes = f'source-language="{source}"' + (f' target-language="{target}"' if target else "")
    body = "".join(
        f"<trans-unit><source>{source}</source><target>{target}</target></trans-unit>"
        for source, target in units
    )
    return (
        '<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">'
        f"<file {codes}><body>{body}</body></file></xliff>"
    )


def xliff2(*units: str) -> str:
    body = "".join(f"<unit>{unit}</unit>" for unit in units)
    return (
        '<xliff version="2.0" srcLang="en" trgLang="de" '
        f'xmlns="urn:oasis:names:tc:xliff:document:2.0"><file>{body}</file></xliff>'
    )


HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n%s"\n\n'


# What is written is read


@given(lines=st.lists(LINE.map(lambda text: text.replace("\n", "").rstrip("\r")), max_size=5))
@example(lines=["", "", "a"])
@example(lines=[""])
@example(lines=["\ufeff", "\ufeffa"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_text_is_read_as_it_was_written(lines, end, mark):
    if not mark and lines and lines[0].startswith("\ufeff"):
        return  # that is a mark
    content = mark + "".join(line + end for line in lines)
    assert read_side("text", content.encode()) == lines
    if lines and lines[-1] and not lines[-1].endswith("\r"):
        assert read_side("text", content.removesuffix(end).encode()) == lines


@given(
    st.lists(st.sampled_from([b"\xef\xbb\xbf", b"\r", b"\n", b"a", "ä\x85".encode(), b"\xff"])),
    st.integers(1, 5),
)
@example([b"\xef\xbb\xbf"], 1)
@example([b"\xef\xbb\xbf", b"\n", b"\xff", b"\r", b"\n", b"a"], 2)
def test_the_size_of_a_block_changes_nothing(pieces, size):
    content = b"".join(pieces)
    together = read_side("text", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "BLOCK", size)
        assert read_side("text", content) == together
    content = content.removeprefix(b"\xef\xbb\xbf")
    singly = [line.removesuffix(b"\r") for line in content.removesuffix(b"\n").split(b"\n")]
    assert len(together) == (len(singly) if content else 0)
    for number, (line, raw) in enumerate(zip(together, singly, strict=False), start=1):
        if b"\xff" in raw:
            assert f"f:{number} is not UTF-8 (byte {raw.index(0xFF) + 1} of" in line.message
        else:
            assert line == raw.decode()


@given(st.lists(LINE, min_size=1, max_size=5), st.sampled_from(["\n", "\r\n", ""]))
def test_segments_are_read_as_they_were_written(texts, between):
    segments = [f'<seg id="{number}">{escape(text)}</seg>' for number, text in enumerate(texts)]
    content = f'<srcset setid="toy">{between.join(segments)}</srcset>'
    assert read_side("sgm", content.encode()) == [_collapsed(text) for text in texts]


PAIRS_OF_TEXT = st.lists(st.tuples(LINE, LINE), min_size=1, max_size=4)


@given(PAIRS_OF_TEXT)
def test_columns_are_read_as_they_were_written(pairs):
    cells = [[re.sub(r"[\n\t]", "", side) for side in pair] for pair in pairs]
    content = "\ufeff" + "".join("\t".join([*row, ""]) + "\n" for row in cells)
    assert read("tsv", content) == [tuple(map(_one_line, row)) for row in cells]
    headed = "\ufeffid\tEnglish\tGerman\n" + "".join(f"1\t{a}\t{b}\t\r\n" for a, b in cells)
    expected = [tuple(map(_one_line, row[::-1])) for row in cells]
    assert read("tsv", headed, ["German", "English"]) == expected
    assert read("tsv", headed, ["German", 2]) == expected
    assert read("tsv", headed, [3, 2])[1:] == expected


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), st.booleans())
@example([("\ud800", "\udfff")], True)
def test_json_is_read_as_it_was_written(pairs, ascii_only):
    if not ascii_only:
        pairs = [[side.encode("utf-8", "ignore").decode() for side in pair] for pair in pairs]
    expected = [tuple(map(_one_line, pair)) for pair in pairs]

    def written(value: Callable[[str, str], object]) -> str:
        return "".join(json.dumps(value(a, b), ensure_ascii=ascii_only) + "\n" for a, b in pairs)

    flat = written(lambda a, b: {"id": 1, "en": a, "de": b})
    assert read("jsonl", flat) == expected
    assert read("jsonl", flat, ["en", "de"]) == expected
    nested = written(lambda a, b: {"id": 1, "translation": {"de": b, "en": a}})
    assert read("jsonl", nested) == expected
    assert read("jsonl", nested, ["translation.en", "translation.de"]) == expected
    turns = written(lambda a, b: {"turns": [{"text": a}, {"text": b}]})
    assert read("jsonl", turns, ["turns.0.text", "turns.1.text"]) == expected
    assert read("jsonl", written(lambda a, b: [a, b]), [0, 1]) == expected
    dotted = written(lambda a, b: {"text.en": a, "text": {"de": b}})
    assert read("jsonl", dotted, ["text.en", "text.de"]) == expected


@given(PAIRS_OF_TEXT)
def test_xml_is_read_as_it_was_written(pairs):
    segments = [tuple(map(_xml, pair)) for pair in pairs]
    unescaped = [[NOT_IN_XML.sub("", side) for side in pair] for pair in pairs]
    expected = [tuple(map(_one_line, pair)) for pair in unescaped]
    memory = tmx(*({"de": b, "fr": "x", "en": a} for a, b in segments))
    assert read("tmx", memory) == expected
    translated = [pair for pair in expected if all(map(str.strip, pair))]
    assert read("xliff", xliff(*segments)) == translated
    second = "<segment><source>{}</source><target>{}</target></segment>"
    assert read("xliff", xliff2(*(second.format(*pair) for pair in segments))) == translated
    assert read("xliff", xliff2("".join(second.format(*pair) for pair in segments))) == translated


@given(PAIRS_OF_TEXT)
@settings(deadline=None)
def test_gettext_is_read_as_it_was_written(pairs):
    unsaid = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x85\u2028\u2029\ufeff]")
    kept = [[unsaid.sub("", side) for side in pair] for pair in pairs]
    kept = [pair for pair in kept if all(map(str.strip, pair))]
    content = HEADER % "" + "\n".join(f"msgid {_po(a)}\nmsgstr {_po(b)}\n" for a, b in kept)
    assert read("po", content) == [tuple(map(_one_line, pair)) for pair in kept]


# What a row is


@given(good=st.lists(st.booleans(), min_size=1, max_size=6), data=st.data())
@pytest.mark.parametrize("form", ["text", "sgm", "tsv", "jsonl"])
def test_a_bad_row_is_named_by_its_line_and_leaves_the_others_their_places(form, good, data):
    bad = b"\xff"
    if form in PAIRS:
        bad = data.draw(st.sampled_from([b"\xff", b"alone", b" "]))
    row = {
        "text": b"ok",
        "sgm": b"<seg>ok</seg>",
        "tsv": b"ok\tok",
        "jsonl": b'{"en": "ok", "de": "ok"}',
    }[form]
    lines = [row if fine else b"<seg>\xff</seg>" if form == "sgm" else bad for fine in good]
    content = b"\n".join(lines) + b"\n"
    found = read(form, content) if form in PAIRS else read_side(form, content)
    assert len(found) == len(good)
    for number, (fine, item) in enumerate(zip(good, found, strict=True), start=1):
        assert isinstance(item, Unreadable) != fine
        if not fine:
            assert re.match(rf"f:{number}\b", item.message)


@pytest.mark.parametrize("form", ["tsv", "jsonl"])
def test_empty_lines_count_unless_they_are_the_last(form):
    row = "a\tb\n" if form == "tsv" else '{"en": "a", "de": "b"}\n'
    assert read(form, row + "\n\r\n") == [("a", "b")]
    assert read(form, "\n\n") == []
    first, second, third, fourth = read(form, f"{row}\n\r\n{row}")
    assert first == fourth == ("a", "b")
    assert second.message.startswith("f:2")
    assert third.message.startswith("f:3")


@pytest.mark.parametrize("form", PAIRS)
@given(text=st.sampled_from(["a\nb", "a\r\nb", "a\rb", "\na", "a\n", "a\n\nb"]))
@settings(deadline=None)
def test_a_side_is_one_line(form, text):
    content = {
        "tsv": f"{text}\t{text}\n" if "\n" not in text else "a\tb",
        "jsonl": json.dumps({"en": text, "de": text}),
        "tmx": tmx({"en": text, "de": text}),
        "xliff": xliff((text, text)),
        "po": f"msgid {_po(text)}\nmsgstr {_po(text)}\n",
    }[form]
    ((source, target),) = read(form, content)
    assert not set("\r\n") & set(source + target)


def test_segments_of_wmt_are_read_whatever_the_year():
    content = """<!DOCTYPE srcset SYSTEM "ftp://example.org/mteval-xml-v1.3.dtd">
<SRCSET setid="newstest" srclang="any"><DOC docid=1 genre='news'>
<hl><seg id=1> AT&T & R&D; &amp;amp; 3 < 5 &lt;b&gt; &#228;&#xE4; bed&notes </seg></hl>
<p>
<SEG id="2">over
  two lines</SEG><seg id="3"/><seg id="4"></seg>
<segment>not this</segment></p></DOC></SRCSET>"""
    assert read_side("sgm", content.encode()) == [
        "AT&T & R&D; &amp; 3 < 5 <b> ää bed&notes",
        "over two lines",
        "",
        "",
    ]


def test_a_language_is_found_by_its_code_but_another_region_is_another():
    units = tmx({"EN-gb": "colour", "de": "Farbe", "en-US": "color"}, {"fr": "couleur"})
    for source, expected in [
        ("en", "colour"),
        ("en-GB", "colour"),
        ("en_US", "color"),
        ("EN-us", "color"),
    ]:
        for target in ["de", "DE", "de-AT"]:
            assert read("tmx", units, languages=(source, target)) == [(expected, "Farbe")]
            assert read("tmx", units, languages=(target, source)) == [("Farbe", expected)]
    assert read("tmx", tmx({"en-GB": "x", "en": "y", "de": "z"})) == [("y", "z")]
    with pytest.raises(UserError, match="en-AU"):
        read("tmx", units, languages=("en-AU", "de"))
    with pytest.raises(UserError, match="it has EN-gb, de, en-US, fr"):
        read("tmx", units, languages=("e", "de"))


def test_an_old_memory_names_languages_by_lang():
    old = tmx({"en": "a", "de": "b"}).replace("xml:lang", "lang")
    assert read("tmx", old) == [("a", "b")]


def test_a_document_may_have_a_namespace_and_any_encoding():
    spaced = tmx({"en": "ä", "de": "b"}).replace("<tmx", '<tmx xmlns="http://www.lisa.org/tmx14"')
    assert read("tmx", spaced) == [("ä", "b")]
    for code in ["utf-16", "iso-8859-1"]:
        declared = spaced.replace('"1.0"', f'"1.0" encoding="{code}"')
        assert read("tmx", declared.encode(code)) == [("ä", "b")]


def test_codes_of_formatting_are_no_text():
    marked = (
        'the <bpt i="1">{\\b </bpt>big<ept i="1">}</ept> <hi>red</hi><ph>&lt;/&gt;</ph><!-- c -->.'
    )
    assert read("tmx", tmx({"en": marked, "de": "x"})) == [("the big red.", "x")]
    marked = '<g id="1">big</g> <mrk mtype="seg">house</mrk><x id="2"/><?pi data?>'
    assert read("xliff", xliff((marked, "x"))) == [("big house", "x")]


def test_xliff_is_read_in_the_direction_that_is_asked_for():
    document = xliff(("a", "b"), source="en-GB", target="de-DE")
    assert read("xliff", document, languages=("en", "de")) == [("a", "b")]
    assert read("xliff", document, languages=("de", "en")) == [("b", "a")]
    alone = xliff(("a", "b"), target=None)
    assert read("xliff", alone, languages=("en", "de")) == [("a", "b")]
    assert read("xliff", alone, languages=("de", "en")) == [("b", "a")]
    with pytest.raises(UserError, match=r"nothing in both en and fr; it has de-DE, en-GB"):
        read("xliff", document, languages=("en", "fr"))


def test_what_is_not_translated_is_left_out():
    untranslated = "<segment><source>a</source></segment>"
    new = '<segment state="initial"><source>a</source><target>a</target></segment>'
    done = '<segment state="final"><source>a</source><target>b</target></segment>'
    assert read("xliff", xliff2(untranslated, new, done)) == [("a", "b")]
    first = xliff(("a", ""), ("a", " "), ("a", "b"), ("c", "d"))
    alternative = "<target>d</target><alt-trans><target>no</target></alt-trans>"
    assert read("xliff", first.replace("<target>d</target>", alternative))[1:] == [("c", "d")]
    marked = first.replace("<target>b", '<target state="needs-translation">b')
    assert read("xliff", marked) == [("c", "d")]
    content = (
        HEADER % ""
        + """
#, fuzzy
msgid "a"
msgstr "no"

msgid "b"
msgstr ""

#: file.c:1
msgctxt "menu"
msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d Datei"
msgstr[1] "%d Dateien"

#~ msgid "c"
#~ msgstr "no"
"""
    )
    assert read("po", content) == [("%d file", "%d Datei"), ("%d files", "%d Dateien")]


def test_gettext_whose_translations_are_in_the_source_language_is_turned():
    entry = 'msgid "house"\nmsgstr "Haus"\n'
    for language in ["de", "de_DE"]:
        content = HEADER % f"Language: {language}\\n" + entry
        assert read("po", content, languages=("en", "de")) == [("house", "Haus")]
        assert read("po", content, languages=("de", "en")) == [("Haus", "house")]
    assert read("po", HEADER % "" + entry, languages=("de", "en")) == [("house", "Haus")]


# Messages


LISTING = "name two by fields, of the text there is: "


@pytest.mark.parametrize(
    ("form", "content", "message"),
    [
        ("tsv", b"a\n", "f:1 has 1 column, so there is no column 2; put a tab between columns, or "
                        "name others by fields"),
        ("tsv", b"a\xe4\tb\n", "f:1 is not UTF-8 (byte 2 of the line is 0xe4); convert the file, "
                               "for example with iconv"),
        ("jsonl", b'{"en": }', "f:1: column 8 is not JSON (Expecting value); correct or remove the "
                               "line"),
        ("jsonl", b'{"id": "1", "translation": {"fr": "a", "n": [1, "b"]}}',
         f"f:1: there is no en or translation.en; {LISTING}id, translation.fr, translation.n.1"),
        ("jsonl", b"7", f"f:1: there is no en or translation.en; {LISTING}none"),
        ("jsonl", b'{"en": 7.5}', "f:1: en is the number 7.5, not text; correct the line, or name "
                                  "another field by fields"),
        ("jsonl", b'{"en": null}', "f:1: en is null, not text; correct the line, or name another "
                                   "field by fields"),
        ("jsonl", b'{"translation": {"en": true}}', "f:1: translation.en is true, not text; "
         "correct the line, or name another field by fields"),
        ("jsonl", b'{"en": ["a"]}', "f:1: en is a list, not text; correct the line, or name "
                                    "another field by fields"),
        ("jsonl", b'{"en": {}}', "f:1: en is an object, not text; correct the line, or name "
                                 "another field by fields"),
        ("jsonl", b"[" * 100_000, "f:1: the JSON is nested too deeply; remove the line"),
        ("sgm", b"\n\n<seg>\n\xe4</seg>", "f:3 is not UTF-8 (byte 2 of the segment is 0xe4); "
         "convert the file, for example with iconv"),
        ("sgm", b"<seg>a\n<seg>b</seg>", "f:1 has a <seg> that does not end; put </seg> there"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_says_why(form, content, message):
    found = read(form, content) if form in PAIRS else read_side(form, content)
    assert found[0] == Unreadable(message)


def test_a_number_without_end_is_a_row_that_cannot_be_read():
    (row,) = read("jsonl", b'{"en": ' + b"9" * 10_000 + b"}")
    assert row.message.startswith("f:1: ")


def test_a_message_names_only_some_of_many_fields():
    (row,) = read("jsonl", json.dumps({f"k{number}": "" for number in range(100)}))
    assert row.message.endswith("k18, k19, ...")


@pytest.mark.parametrize(
    ("form", "content", "fields", "message"),
    [
        ("tsv", b"id\tEnglish\n", ["en", "de"],
         "f has no column en or de; its first line names: id, English"),
        ("tsv", b"\xff\n", ["en", "de"], "f:1 is not UTF-8 (byte 1 of the line is 0xff); convert "
                                         "the file, for example with iconv"),
        ("tsv", b"a\tb", [0, 1], "f: fields cannot name column 0; columns are counted from 1"),
        ("sgm", b"text\n", None, "f has no <seg>; if it is no SGM, say what it is by format"),
        ("tmx", b"<tmx><body/></tmx>", None,
         "f has no units of TMX; if it is none, change format"),
        ("xliff", tmx({"en": "a"}).encode(), None,
         "f has no units of XLIFF; if it is none, change format"),
        ("tmx", tmx({"fr": "a"}, {"en": "a", "it": "b"}).encode(), None,
         "f has nothing in both en and de; it has en, fr, it: name two of them by languages"),
        ("tmx", b"en\tde\n", None, "f:1 is no XML that can be read (column 1: Start tag expected, "
         "'<' not found, line 1, column 1); correct the file, or export it again"),
        ("po", b"en\tde\n", None, "f is no PO that can be read (Syntax error on line 1: "
         "'en\\tde\\n'); correct it, or if it is not UTF-8, convert it with msgconv "
         "--to-code=UTF-8"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_says_why(form, content, fields, message):
    with pytest.raises(UserError) as raised:
        read(form, content, fields) if form in PAIRS else read_side(form, content)
    assert str(raised.value) == message


@pytest.mark.parametrize("form", ["text", "sgm", "tsv", "jsonl", "po"])
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_a_file_without_anything_has_no_rows(form, content):
    if form == "sgm" and content:
        return  # it has something, which is no segment
    assert (read(form, content) if form in PAIRS else read_side(form, content)) == []


@pytest.mark.parametrize(
    ("form", "library", "module"),
    [("tmx", "lxml", "lxml"), ("xliff", "lxml", "lxml"),
     ("po", "translate-toolkit", "translate.storage.pypo")],
)  # fmt: skip
def test_a_missing_library_is_named_with_its_extra(form, library, module, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(UserError, match=rf"needs {library}; pip install 'seq2seq\[formats\]'"):
        read(form, b"")


# What is not to be trusted


def test_entities_are_not_resolved_and_nothing_else_is_lost(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    head = f'<!DOCTYPE tmx [<!ENTITY in "inner"><!ENTITY out SYSTEM "{secret.as_uri()}">]>'
    document = tmx(
        {"en": "a &amp; b", "de": "&#228;"},
        {"en": "&in;", "de": "a"},
        {"en": "<hi>&out;</hi>", "de": "a"},
        {"en": "a", "de": "b"},
        head=head,
    )
    first, inner, outer, last = read("tmx", document)
    assert (first, last) == (("a & b", "ä"), ("a", "b"))
    assert inner.message == (
        "f:3 has the entity &in;, and entities are not resolved; write out what it stands for"
    )
    assert "f:4 has the entity &out;" in outer.message


def test_a_definition_elsewhere_is_not_read(tmp_path):
    definition = tmp_path / "tmx14.dtd"
    definition.write_text('<!ENTITY in "inner">')
    head = f'<!DOCTYPE tmx SYSTEM "{definition.as_uri()}">'
    assert read("tmx", tmx({"en": "a", "de": "b"}, head=head)) == [("a", "b")]
    (row,) = read_or_refuse("tmx", tmx({"en": "&in;", "de": "b"}, head=head))
    assert isinstance(row, Unreadable)


def read_or_refuse(form: str, content: str) -> list[Pair | Unreadable]:
    """What is read, or the error: the version of libxml2 decides where an entity is refused."""
    try:
        return read(form, content)
    except UserError as error:
        return [Unreadable(str(error))]


@pytest.mark.parametrize("form", ["tmx", "xliff"])
def test_a_billion_laughs_are_not_heard(form):
    entities = "".join(
        f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 12)
    )
    head = f'<!DOCTYPE x [<!ENTITY l0 "ha">{entities}]>\n'
    if form == "tmx":
        document = tmx({"en": "&l11;", "de": "a"}, head=head)
    else:
        document = head + xliff(("&l11;", "a"))
    (row,) = read_or_refuse(form, document)
    assert isinstance(row, Unreadable)
    assert len(row.message) < 1000


@pytest.mark.parametrize("depth", [10, 10_000])
def test_nesting_without_end_is_an_error(depth):
    document = tmx({"en": "<hi>" * depth + "a" + "</hi>" * depth, "de": "b"})
    if depth < 100:
        assert read("tmx", document) == [("a", "b")]
    else:
        with pytest.raises(UserError, match="no XML that can be read"):
            read("tmx", document)


def test_a_line_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(rows, "LONGEST_LINE", 1 << 20)
    just = b"a" * ((1 << 20) - 1) + b"\n"
    assert len(read_side("text", just * 2)) == 2
    with pytest.raises(UserError) as raised:
        read_side("text", just + just.removesuffix(b"\n") * 3)
    assert str(raised.value) == "f:2 is longer than 1 MiB; is it a file of text?"


@pytest.mark.parametrize("form", ["sgm", "po"])
def test_a_document_without_end_is_an_error(form, monkeypatch):
    monkeypatch.setattr(rows, "LARGEST_DOCUMENT", 1 << 20)
    monkeypatch.setattr(exchange, "LARGEST_ROW", 1 << 20)
    content = b"a" * (1 << 20) + b"b"
    with pytest.raises(UserError) as raised:
        read(form, content) if form in PAIRS else read_side(form, content)
    assert str(raised.value) == "f is larger than 1 MiB, the most in this format; split it"


# Of 16 MiB, and of what is between two units that are yielded
TOO_MUCH = {
    "notes": tmx({"en": "a", "de": "b"}).replace("<tu>", "<tu>" + "<note/>" * 5000),
    "a note": tmx({"en": "a", "de": "b"}).replace("<tu>", f"<tu><note>{'n' * 35_000}</note>"),
    "variants": tmx({f"x{number}": "a" for number in range(900)}),
    "what is no unit": tmx({"en": "a", "de": "b"}).replace("<tu>", "<other/>" * 5000 + "<tu>"),
    "a property": tmx({"en": "a", "de": "b"}).replace("<tu>", f"<tu note='{'n' * 35_000}'>"),
}


@pytest.mark.parametrize("unit", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_unit_without_end_is_an_error(unit, monkeypatch):
    monkeypatch.setattr(exchange, "LARGEST_ROW", 1 << 15)
    many = _many("tmx", 5000).decode()  # which is longer, but not one of its units
    assert len(many) > len(unit)
    assert len(read("tmx", many)) == 5000
    with pytest.raises(UserError) as raised:
        read("tmx", unit)
    assert str(raised.value) == (
        "f has more than 0 MiB in one unit, or between two; remove what is no text, such as notes, "
        "or export it again"
    )


def test_an_xliff_unit_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(exchange, "LARGEST_ROW", 1 << 15)
    document = xliff(("a", "b")).replace("<source>", "<alt-trans/>" * 3000 + "<source>")
    with pytest.raises(UserError, match="has more than 0 MiB in one unit"):
        read("xliff", document)


def test_parts_around_units_are_gone_after_their_turn():
    file = xliff(("a", "b"))
    inner = file[file.index("<file") : file.index("</file>") + len("</file>")]
    stream = io.BytesIO(file.replace(inner, inner * 5000).encode())
    held = [
        len(unit.getroottree().getroot()) for unit in exchange._elements(stream, "f", "trans-unit")
    ]
    assert len(held) == 5000
    assert max(held) < 1000


def test_a_message_names_only_some_of_many_languages():
    with pytest.raises(UserError) as raised:
        read("tmx", tmx(*[{f"x{number}": "a"} for number in range(3000)]))
    assert len(str(raised.value)) < 300
    assert "x0, x1, x10" in str(raised.value)


@pytest.mark.parametrize("form", ["tsv", "jsonl"])
def test_empty_lines_are_not_kept_until_they_are_known_to_be_the_last(form):
    """Each costs some bytes packed by gzip: all of them are in memory at no time."""
    empty = 300_000
    tracemalloc.start()
    try:
        assert read(form, _many(form, 1).decode() + "\n" * empty) == read(form, _many(form, 1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * empty
    found = read(form, _many(form, 1).decode() + "\n" * 3 + _many(form, 1).decode())
    assert [row if isinstance(row, Pair) else row.message[:3] for row in found] == [
        ("a", "b"), "f:2", "f:3", "f:4", ("a", "b"),
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["tsv", "jsonl"])
def test_a_row_too_large_is_left_out_and_counted(form, monkeypatch):
    monkeypatch.setattr("seq2seq.text.formats.LARGEST_ROW", 1 << 10)
    good = _many(form, 1).decode()
    large = {"tsv": "\t" * 2000, "jsonl": f"[{'[],' * 700}0]"}[form]
    assert read(form, f"{good}{large}\n{good}") == [
        ("a", "b"),
        Unreadable("f:2 is longer than 0 MiB; remove the line"),
        ("a", "b"),
    ]


class Meter(io.BytesIO):
    """A stream that knows how much of it has been read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.size = len(content)

    @property
    def left(self) -> float:
        """The part that has not been read."""
        return 1 - self.tell() / self.size


def _many(form: str, count: int) -> bytes:
    return {
        "text": "a\n" * count,
        "tsv": "a\tb\n" * count,
        "jsonl": '{"en": "a", "de": "b"}\n' * count,
        "tmx": tmx(*[{"en": "a", "de": "b"}] * count),
        "xliff": xliff(*[("a", "b")] * count),
    }[form].encode()


@pytest.mark.parametrize("form", ["text", "tsv", "jsonl", "tmx", "xliff"])
def test_rows_come_while_the_file_is_read(form, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK", 1 << 12)
    stream = Meter(_many(form, 20_000))
    found: Iterator[object] = (
        PAIRS[form](stream, Reading("f", None, ("en", "de")))
        if form in PAIRS
        else SIDES[form](stream, "f")
    )
    next(found)
    assert stream.left > 0.5
    assert sum(1 for _ in found) == 20_000 - 1
    assert stream.left == 0


def test_an_element_is_gone_after_its_turn():
    stream = io.BytesIO(_many("tmx", 20_000))
    held = [len(unit.getparent()) for unit in exchange._elements(stream, "f", "tu")]
    assert len(held) == 20_000
    assert max(held) < 1000  # what is parsed at once


# Names


@pytest.mark.parametrize(
    ("name", "alone", "pairs"),
    [
        ("train.de", "text", "tsv"),
        ("train", "text", "tsv"),
        ("dev/newstest2013-src.de.sgm", "sgm", "tsv"),
        ("a.SGML.gz", "sgm", "tsv"),
        ("a.tsv", "text", "tsv"),
        ("a.tab.zst", "text", "tsv"),
        ("a.jsonl.xz", "text", "jsonl"),
        ("a.ndjson.bz2", "text", "jsonl"),
        ("en-de.tmx.gz", "text", "tmx"),
        ("a.xlf", "text", "xliff"),
        ("a.b.XLIFF.zip", "text", "xliff"),
        ("a.txt.sdlxliff", "text", "xliff"),
        ("de.po", "text", "po"),
        ("messages.pot", "text", "po"),
        ("a.tmx/b.gz", "text", "tsv"),
        (".gz", "text", "tsv"),
    ],
)
def test_a_name_tells_the_format(name, alone, pairs):
    assert format_of(name, pairs=False) == alone
    assert format_of(name, pairs=True) == pairs
