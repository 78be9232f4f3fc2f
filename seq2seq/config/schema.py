"""The JSON Schema of configs, by which editors complete names and mark what cannot be."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from seq2seq.config.documentation import KINDS
from seq2seq.config.options import Config
from seq2seq.config.reading import ASIDE


def schema() -> dict[str, Any]:
    """What a config may hold, as JSON Schema (draft 2020-12).

    It has every option with its text, range and default. What options forbid each other it does not
    know: `load` does.
    """
    made = Config.model_json_schema()
    made["required"].remove("name")  # the file's, unless given
    for section in KINDS.values():
        made["$defs"][section.__name__]["required"] = ["kind"]
    for holder in (made, *made["$defs"].values()):
        holder.pop("title", None)
        for option in holder["properties"].values():
            option.pop("title", None)  # the name again, in capitals
    made["patternProperties"] = {f"^{ASIDE}": True}
    return {"$schema": GenerateJsonSchema.schema_dialect, "title": "seq2seq", **made}
