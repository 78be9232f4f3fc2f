"""The formats that translators exchange: TMX, XLIFF and gettext PO (the extra `formats`).

XML streams, so that memory does not grow with the document. Nothing in it is trusted: entities are
not resolved, nothing is loaded from elsewhere. Of the text, the marks of inline formatting are left
out, but not what they enclose.
"""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from seq2seq.errors import UserError
from seq2seq.text.rows import LARGEST_ROW, Pair, Reading, Unreadable, pair_of_lines, whole

LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
CODES = {"bpt", "ept", "it", "ph", "ut"}  # elements whose content is the formatting's own code
LISTED = 20  # languages that a message has room for
UNTRANSLATED = {"new", "needs-translation", "initial"}  # states in XLIFF 1 and 2


def read_tmx(stream: BinaryIO, reading: Reading) -> Iterator[Pair | Unreadable]:
    """The pairs of a translation memory (TMX 1.4): of each unit that has both languages, one.

    A language is found by its code: en finds en-GB too, and en-GB finds en, but not en-US. Raises a
    UserError if the file is no TMX, or no unit has both languages.
    """
    seen: set[str] = set()
    found = False
    for unit in _elements(stream, reading.name, "tu"):
        segments: dict[str, Any] = {}
        for variant in unit.iterchildren("{*}tuv"):
            code = variant.get(LANGUAGE) or variant.get("lang") or ""
            segments.setdefault(code, variant.find("{*}seg"))
        _note(seen, segments)
        source, target = (segments.get(_choose(segments, wish)) for wish in reading.languages)
        if source is not None and target is not None:
            found = True
            yield _pair(source, target, reading.name)
    if not found:
        _refuse(reading, "TMX", seen)


def read_xliff(stream: BinaryIO, reading: Reading) -> Iterator[Pair | Unreadable]:
    """The pairs of an XLIFF file (1.x or 2.x), in the direction that is asked for.

    What is not translated is left out: without a target, with an empty one, or one that is marked
    as new. Raises a UserError if the file is no XLIFF, or has other languages.
    """
    seen: set[str] = set()
    found = False
    for unit in _elements(stream, reading.name, "trans-unit", "segment"):
        codes = _direction(unit)
        _note(seen, codes)
        sides = unit.find("{*}source"), unit.find("{*}target")
        if not _speak(codes, reading.languages):
            if not _speak(codes[::-1], reading.languages):
                continue
            sides = sides[::-1]
        found = True
        states = {unit.get("state"), *(side.get("state") for side in sides if side is not None)}
        if None not in sides and not states & UNTRANSLATED:
            row = _pair(*sides, reading.name)
            if isinstance(row, Unreadable) or all(map(str.strip, row)):
                yield row
    if not found:
        _refuse(reading, "XLIFF", seen)


def read_po(stream: BinaryIO, reading: Reading) -> Iterator[Pair | Unreadable]:
    """The pairs of a gettext file: msgid and msgstr, and of plural forms the first and the last.

    What is fuzzy, obsolete or not translated is left out. Where the header says that the msgstr are
    in the source's language, they are the sources. Reads the whole file into memory. Raises a
    UserError if it is no PO.
    """
    try:
        from translate.storage.pypo import pofile
    except ImportError:
        raise UserError(_needs("po", "translate-toolkit")) from None
    try:
        store = pofile.parsestring(whole(stream, reading.name, LARGEST_ROW))
        language = store.parseheader().get("Language", "")
    except ValueError as error:
        raise UserError(
            f"{reading.name} is no PO that can be read ({str(error).strip()}); correct it, or if "
            "it is not UTF-8, convert it with msgconv --to-code=UTF-8"
        ) from None
    source, target = reading.languages
    turned = bool(language) and _matches(language, source) and not _matches(language, target)
    for unit in store.units:
        if unit.isheader() or unit.isobsolete() or unit.isfuzzy() or not unit.istranslated():
            continue
        forms = [(unit.source, unit.target)]
        if unit.hasplural() and len(unit.target.strings) > 1:
            forms.append((unit.source.strings[-1], unit.target.strings[-1]))
        for form in forms:
            original, translation = map(str, form)
            yield pair_of_lines(*((translation, original) if turned else (original, translation)))


def _elements(stream: BinaryIO, name: str, *tags: str) -> Iterator[Any]:
    """The elements of an XML document that have one of some names; each is gone after its turn.

    Raises a UserError if there is too much between them, all of which is in memory until then.
    """
    try:
        from lxml import etree
    except ImportError:
        raise UserError(_needs("tmx and xliff", "lxml")) from None
    bounded = _Bounded(stream, name)
    elements = etree.iterparse(
        bounded,
        tag=[f"{{*}}{tag}" for tag in tags],
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
    )
    try:
        for _, element in elements:
            bounded.left = LARGEST_ROW
            yield element
            element.clear()
            for part in (element, *element.iterancestors()):
                while part.getprevious() is not None and part.getparent() is not None:
                    del part.getparent()[0]
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise UserError(
            f"{name}:{line} is no XML that can be read (column {column}: {error.msg}); correct the "
            "file, or export it again"
        ) from None


class _Bounded:
    """A stream of XML of which only so much is read until an element comes."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.stream = stream
        self.name = name
        self.left = LARGEST_ROW

    def read(self, size: int = -1) -> bytes:
        content = self.stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise UserError(
                f"{self.name} has more than {LARGEST_ROW >> 20} MiB in one unit, or between two; "
                "remove what is no text, such as notes, or export it again"
            )
        return content


def _pair(source: Any, target: Any, name: str) -> Pair | Unreadable:
    try:
        return pair_of_lines(_text(source), _text(target))
    except _EntityError as error:
        return Unreadable(
            f"{name}:{error.line} has the entity {error}, and entities are not resolved; write out "
            "what it stands for"
        )


class _EntityError(Exception):
    """Text has an entity, which may stand for anything: a file, or a billion laughs."""

    def __init__(self, name: str, line: int) -> None:
        super().__init__(name)
        self.line = line


def _text(element: Any) -> str:
    """The text of an element, without the marks of formatting."""
    from lxml import etree

    pieces = [element.text]
    for child in element:
        if child.tag is etree.Entity:
            raise _EntityError(child.text, child.sourceline)
        if isinstance(child.tag, str) and etree.QName(child).localname not in CODES:
            pieces.append(_text(child))  # what is no element is a comment or an instruction
        pieces.append(child.tail)
    return "".join(filter(None, pieces))


def _matches(code: str, wish: str) -> bool:
    """Whether a language is the one that is asked for, or a region of it, or it without region."""
    code, wish = (name.lower().replace("_", "-") for name in (code, wish))
    return code == wish or code.startswith(f"{wish}-") or wish.startswith(f"{code}-")


def _choose(codes: Iterable[str], wish: str) -> str:
    """The code that is most like the one that is asked for; the wish itself if none is."""
    found = [code for code in codes if _matches(code, wish)]
    return min(found, key=lambda code: abs(len(code) - len(wish)), default=wish)


def _direction(unit: Any) -> tuple[str | None, str | None]:
    """The languages of source and target that XLIFF names around a unit."""
    for element in unit.iterancestors():
        if source := element.get("source-language") or element.get("srcLang"):
            return source, element.get("target-language") or element.get("trgLang")
    return None, None


def _speak(codes: tuple[str | None, ...], wishes: tuple[str, str]) -> bool:
    """Whether languages are those that are asked for, as far as they are named."""
    return all(not code or _matches(code, wish) for code, wish in zip(codes, wishes, strict=True))


def _note(seen: set[str], codes: Iterable[str | None]) -> None:
    """Adds languages to those that a message may name."""
    if len(seen) <= LISTED:
        seen.update(filter(None, codes))


def _refuse(reading: Reading, form: str, seen: set[str]) -> None:
    if not seen:
        raise UserError(f"{reading.name} has no units of {form}; if it is none, change format")
    named = sorted(seen)[:LISTED] + ["..."] * (len(seen) > LISTED)
    raise UserError(
        f"{reading.name} has nothing in both {' and '.join(reading.languages)}; it has "
        f"{', '.join(named)}: name two of them by languages"
    )


def _needs(form: str, library: str) -> str:
    return f"to read {form} needs {library}; pip install 'seq2seq[formats]'"
