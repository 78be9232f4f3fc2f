"""What every section of options has in common, and the types that options are made of.

A section is frozen and closed to unknown keys. What a type cannot say (that heads must divide a
width) a section says in `conflicts`, so that all problems of a config are reported at once. What an
option means is said below it, in a string, which is read from the source when somebody asks.
"""

import ast
import functools
import inspect
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

FREE = "free"  # marks an option that may change between stop and resume: it changes no result

# The upper bounds of sizes are far beyond any use. They keep a config that anybody may have
# written, as in a model folder, from taking all memory or time before it is compared with weights.
Text = Annotated[str, Field(strict=True, min_length=1)]
Name = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Count = Annotated[int, Field(strict=True, ge=1)]
CountOrZero = Annotated[int, Field(strict=True, ge=0)]
Width = Annotated[int, Field(strict=True, ge=1, le=10**6)]
Layers = Annotated[int, Field(strict=True, ge=1, le=1_000)]
Length = Annotated[int, Field(strict=True, ge=1, le=10**9)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
PositiveOrZero = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, lt=1)]
PositiveShare = Annotated[float, Field(strict=True, gt=0, lt=1)]


def _count_or_auto(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """One problem in place of two: that it is no count, and that it is not auto."""
    try:
        return check(value)
    except ValidationError:
        raise PydanticCustomError("count_or_auto", "neither a count nor auto") from None


CountOrAuto = Annotated[Count | Literal["auto"], WrapValidator(_count_or_auto)]


def by_name(option: str, sections: Mapping[str, Any], every: Any) -> BeforeValidator:
    """Lets one of several sections, told apart by an option, be given as its name alone.

    `every` is the type that is any of the sections.
    """
    names = WithJsonSchema({"type": "string", "enum": [*sections]})
    some: Any = Annotated[str, names]
    return BeforeValidator(
        lambda value: {option: value} if isinstance(value, str) else value,
        json_schema_input_type=some | every,
    )


class Section(BaseModel):
    """A group of options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Option (dotted, below this section) and what is wrong with it beside the others."""
        yield from ()

    @model_validator(mode="after")
    def _has_no_conflicts(self) -> "Section":
        if found := list(self.conflicts()):
            raise PydanticCustomError("conflict", "{found}", {"found": found})
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        made = handler(core_schema)
        properties = handler.resolve_ref_schema(made)["properties"]
        for option in properties.keys() & meanings(cls).keys():
            properties[option]["description"] = meanings(cls)[option]
        return made


@functools.cache
def meanings(section: type[Section]) -> dict[str, str]:
    """What the options of a section mean, those that it inherits too, as far as it is said.

    An option whose sections speak for it has none; nor has any where the source is not installed.
    """
    found: dict[str, str] = {}
    for one in reversed(section.__mro__):
        if issubclass(one, Section):
            for option, below in pairwise(statements(one)):
                if isinstance(option, ast.AnnAssign) and isinstance(below, ast.Expr):
                    name, meaning = ast.unparse(option.target), ast.literal_eval(below.value)
                    found[name] = inspect.cleandoc(meaning)
    return found


def statements(section: type[Section]) -> list[ast.stmt]:
    """What a class is made of; nothing where its source is not there."""
    try:
        (written,) = ast.parse(inspect.getsource(section)).body
    except OSError:
        return []
    assert isinstance(written, ast.ClassDef)
    return written.body


def is_free(section: Section, option: str) -> bool:
    """Whether an option may change between stop and resume."""
    return FREE in type(section).model_fields[option].metadata
