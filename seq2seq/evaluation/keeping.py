"""The files of an evaluation: translations, scores, and the origin of both.

<set>.scores.json, with <set>.hypotheses.txt beside it, holds the scores of one origin: a model, its
options of decoding, a test set, and the translations that they gave. Scores of other metrics join
those of the same origin. What has another origin never replaces them: it lies in
<set>.<hash>.scores.json beside them, and the plain name is for a run's own options and its newest
model.
"""

import glob
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.config import Decoding
from seq2seq.files import fingerprint, sha256, write_file, write_json
from seq2seq.layout import SCORES

HYPOTHESES = "hypotheses.txt"
SHORT = 8  # digits of a hash in a file's name
WITHOUT_EFFECT = {"batch_tokens"}  # options of decoding that change no translation


class Origin(NamedTuple):
    """What made scores."""

    model: dict[str, Any]
    """sha256 of its weights; update, or average: the updates that it is the mean of, if known."""
    decoding: dict[str, Any]
    """The options of decoding that translations depend on."""
    test: str
    """The SHA-256 of the test set: sources, references and tag."""
    hypotheses: str
    """The SHA-256 of the translations."""

    @property
    def setting(self) -> tuple[str, dict[str, Any]]:
        """All but the model."""
        return self.test, self.decoding


def options_of(decoding: Decoding) -> dict[str, Any]:
    """Return the options of decoding that translations depend on."""
    return decoding.model_dump(mode="json", exclude=WITHOUT_EFFECT)


def options_apart(options: dict[str, Any], others: dict[str, Any]) -> str:
    """Return in words the options that differ: their values, and those they have in `others`."""
    return ", ".join(
        f"decoding.{name} {value}, not {others.get(name)}"
        for name, value in options.items()
        if value != others.get(name)
    )


def hash_of_lines(lines: Sequence[str]) -> str:
    """Return the SHA-256 of lines as their file has them."""
    return hashlib.sha256(_as_file(lines)).hexdigest()


def read_origin(content: Any, name: str) -> Origin | None:
    """Return the origin of a test set's scores in a file's content; None if it has none.

    Options of decoding that there were not yet had the effect of their defaults.
    """
    try:
        found = content["origin"][name]
        model, decoding = dict(found["model"]), dict(found["decoding"])
        texts = (model["sha256"], found["test"], found["hypotheses"])
    except (KeyError, TypeError, ValueError):
        return None
    if not all(isinstance(text, str) for text in texts):
        return None
    _, test, hypotheses = texts
    return Origin(model, options_of(Decoding()) | decoding, test, hypotheses)


def keep(
    folder: Path,
    name: str,
    hypotheses: Sequence[str],
    found: dict[str, Any],
    origin: Origin,
    *,
    own: bool,
) -> None:
    """Writes the translations of a test set and their scores, beside those of other origins.

    `found` is what `results.as_object` makes of them. The plain name is for what is a run's `own`:
    a test set of its config, and the options that stand there.
    """
    path = _place(folder, name, origin, own)
    write_file(hypotheses_beside(path), _as_file(hypotheses))
    kept = _content(path)
    before = kept if read_origin(kept, name) == origin else {}
    write_json(path, _joined(before, {**found, "origin": {name: origin._asdict()}}))


def hypotheses_beside(scores: Path) -> Path:
    """Return the file of translations that belongs to a file of scores."""
    return scores.with_name(f"{scores.name.removesuffix(SCORES)}{HYPOTHESES}")


def _place(folder: Path, name: str, origin: Origin, own: bool) -> Path:
    """The file for scores of an origin; what has the plain name moves aside if it must."""
    plain = folder / f"{name}.{SCORES}"
    for path in (plain, *sorted(folder.glob(f"{glob.escape(name)}.*.{SCORES}"))):
        if read_origin(_content(path), name) == origin:
            return path
    if not plain.exists():
        return plain
    there = read_origin(_content(plain), name)
    if own or (there is not None and there.setting == origin.setting):
        known = sha256(plain) if there is None else fingerprint(there._asdict())
        aside = folder / f"{name}.{known[:SHORT]}.{SCORES}"
        if (translated := hypotheses_beside(plain)).exists():
            os.replace(translated, hypotheses_beside(aside))
        os.replace(plain, aside)
        return plain
    return folder / f"{name}.{fingerprint(origin._asdict())[:SHORT]}.{SCORES}"


def _joined(kept: Any, found: Any) -> Any:
    """Two JSON values as one; where both have something, the second counts."""
    if isinstance(kept, dict) and isinstance(found, dict):
        return kept | {name: _joined(kept.get(name), entry) for name, entry in found.items()}
    return found


def _content(path: Path) -> Any:
    """The JSON value in a file; None if there is none."""
    try:
        return json.loads(path.read_bytes()) if path.is_file() else None
    except (ValueError, RecursionError):
        return None


def _as_file(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
