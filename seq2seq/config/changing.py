"""Options that are changed when a config is there already: by a command's own flags, in Python."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from seq2seq.config.documentation import dotted, explain
from seq2seq.config.options import Config
from seq2seq.errors import ConfigError


def changed(config: Config, section: str, options: Mapping[str, Any]) -> Config:
    """The config with other values of some options of a section.

    Raises a ConfigError that names all problems at once, conflicts with other options too.
    """
    if not options:
        return config
    values = {**dict(getattr(config, section)), **options}
    try:
        return Config.model_validate({**dict(config), section: values})
    except ValidationError as error:
        problems = [f"{dotted(keys)}: {message}" for keys, message in explain(error)]
        raise ConfigError("\n  ".join(["what was asked cannot be done:", *problems])) from None
