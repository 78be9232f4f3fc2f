"""Options of the rules that training pairs must pass: each is a section, or a name alone."""

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import Field

from seq2seq.config.section import Count, Section, Text, by_name

Portion = Annotated[float, Field(strict=True, ge=0, le=1)]
Unit = Literal["words", "characters"]


class Empty(Section):
    """Drops pairs with a side that has nothing but spaces."""

    rule: Literal["empty"]
    """The rule."""


class Length(Section):
    """Drops pairs with a side that is too short or too long."""

    rule: Literal["length"]
    """The rule."""
    min: Count = 1
    """The fewest that a side may have."""
    max: Count = 250
    """The most that a side may have."""
    unit: Unit = "words"
    """What is counted: words between spaces, or characters."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.min > self.max:
            yield "min", f"{self.min} is more than max: {self.max}"


class Ratio(Section):
    """Drops pairs of which one side is much longer than the other."""

    rule: Literal["ratio"]
    """The rule."""
    max: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] = 3.0
    """How many times as long as the other a side may be; for Chinese 6, Japanese or Korean 4."""
    unit: Unit = "characters"
    """What is counted: words between spaces, or characters."""


class Identical(Section):
    """Drops pairs with the same text on both sides."""

    rule: Literal["identical"]
    """The rule."""


class Duplicates(Section):
    """Drops pairs that have been seen; takes some 25 bytes of memory a pair while it looks."""

    rule: Literal["duplicates"]
    """The rule."""
    of: Literal["pair", "source", "target"] = "pair"
    """What must not come twice."""


class Letters(Section):
    """Drops pairs with a side that is mostly digits, signs and the like."""

    rule: Literal["letters"]
    """The rule."""
    min: Portion = 0.5
    """The least share of letters among the characters of a side that are no spaces."""


class Script(Section):
    """Drops pairs with a side in foreign letters."""

    rule: Literal["script"]
    """The rule."""
    source: Annotated[list[Text], Field(min_length=1)] = ["Latin"]
    """The scripts of the source by their Unicode names, such as Latin, Cyrillic, Han."""
    target: Annotated[list[Text], Field(min_length=1)] = ["Latin"]
    """The scripts of the target."""
    min: Portion = 0.5
    """The least share of such letters among the letters of a side."""


class Numbers(Section):
    """Drops pairs whose sides have different numbers in them."""

    rule: Literal["numbers"]
    """The rule."""


class Brackets(Section):
    """Drops pairs whose sides have different brackets in them."""

    rule: Literal["brackets"]
    """The rule."""


class Markup(Section):
    """Drops pairs with HTML or XML tags or entities in them."""

    rule: Literal["markup"]
    """The rule."""


class Control(Section):
    """Drops pairs with control characters, U+FFFD or unassigned characters in them."""

    rule: Literal["control"]
    """The rule."""


class Language(Section):
    """Drops pairs with a side in another language (needs the extra `language`)."""

    rule: Literal["language"]
    """The rule."""
    languages: Annotated[list[Text], Field(min_length=2, max_length=2)] | None = None
    """Source and target, such as de or German; [data.source, data.target] unless given."""
    min: Portion = 0.2
    """The least probability of the language, which short sides seldom have much of."""
    min_characters: Count = 20
    """Shorter sides, which are hard to tell, are kept."""


Rule = (
    Empty
    | Length
    | Ratio
    | Identical
    | Duplicates
    | Letters
    | Script
    | Numbers
    | Brackets
    | Markup
    | Control
    | Language
)
RULES: dict[str, type[Section]] = {
    get_args(section.model_fields["rule"].annotation)[0]: section for section in get_args(Rule)
}

RuleSection = Annotated[Rule, Field(discriminator="rule")]
Filter = Annotated[RuleSection, by_name("rule", RULES, RuleSection)]
