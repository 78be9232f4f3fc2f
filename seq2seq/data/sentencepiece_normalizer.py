"""The normalizers of `tokenizer.normalization`, as the files of tokenizers carry them.

SentencePiece writes a space as U+2581, so that this character of a text would come back as a space.
`identity` therefore spells it in two characters, which a denormalizer undoes after decoding; both
are in the file, so that SentencePiece alone does it, too.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

IDENTITY = "identity"
SPACE_MARK = "\u2581"
ESCAPE = "\u0010"  # data link escape: hardly any text has it, and any may
ESCAPES = {SPACE_MARK: f"{ESCAPE}_", ESCAPE: ESCAPE * 2}

# Tags of two fields of the message ModelProto in sentencepiece_model.proto
NORMALIZER_SPEC, DENORMALIZER_SPEC = b"\x1a", b"\x2a"
LEAVES_SPACES = {
    "add_dummy_prefix": False,
    "escape_whitespaces": False,
    "remove_extra_whitespaces": False,
}


@cache
def normalizer_proto(name: str) -> bytes:
    """Return the bytes that, appended to a model trained with `identity`, set its normalizer.

    Protocol Buffers merge messages that are joined: the last value of a field counts.
    """
    proto: bytes = _built(**_rules(name)).serialized_model_proto()
    if name != IDENTITY:
        return proto
    undo = [(SPACE_MARK, " "), *((escape, character) for character, escape in ESCAPES.items())]
    denormalizer: bytes = _built(norm_map=undo, **LEAVES_SPACES).serialized_model_proto()
    return proto + DENORMALIZER_SPEC + denormalizer.removeprefix(NORMALIZER_SPEC)


@cache
def line_normalizer(name: str) -> Callable[[str], str]:
    """Return the normalizer of a name as a function of a line; it leaves spaces alone."""
    return cast(Callable[[str], str], _built(**_rules(name), **LEAVES_SPACES).Normalize)


def unescape(text: str) -> str:
    """Return the text that `identity` spelled with escapes."""
    if ESCAPE not in text:
        return text
    parts = text.split(ESCAPE * 2)
    return ESCAPE.join(part.replace(ESCAPES[SPACE_MARK], SPACE_MARK) for part in parts)


def _rules(name: str) -> dict[str, Any]:
    return {"norm_map": [*ESCAPES.items()]} if name == IDENTITY else {"rule_name": name}


def _built(**options: Any) -> Any:
    from sentencepiece import SentencePieceNormalizer, set_min_log_level

    set_min_log_level(2)  # errors: else it tells of every mapping that it compiles
    return SentencePieceNormalizer(**options)
