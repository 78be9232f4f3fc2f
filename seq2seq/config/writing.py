"""A config as YAML, which any version of YAML reads as it was; what differs between two."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from seq2seq.config.data import File, Source
from seq2seq.config.documentation import Keys, dotted, shown
from seq2seq.config.options import Config, Normalization
from seq2seq.config.reading import PLAIN, TAG
from seq2seq.config.section import Section, is_free
from seq2seq.config.training import ENDING
from seq2seq.config.tuning import Origin
from seq2seq.config.urls import without_secrets


def dump(config: Config) -> str:
    """Return the config as YAML, every option written out; loading it gives an equal config.

    Only secrets in URLs are left out: others may read where this is written.
    """
    open_to_all = map_urls(config, without_secrets)
    return yaml.dump(open_to_all, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10**9)


def differences(old: Config, new: Config) -> list[str]:
    """What keeps a run from going on with a new config: each option that changes its results."""
    before, now = dict(_given(old)), dict(_given(new))
    if new.training.schedule in ENDING:
        before["training", "max_updates"] = old.training.max_updates
        now["training", "max_updates"] = new.training.max_updates
    differing = [keys for keys in {**before, **now} if before.get(keys) != now.get(keys)]
    if ("model", "kind") in differing:
        differing = [keys for keys in differing if keys[0] != "model" or keys[1] == "kind"]
    return [
        f"{dotted(keys)}: {shown(before.get(keys), 500)} before, {shown(now.get(keys), 500)} now"
        for keys in differing
    ]


def _given(value: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every option that changes results and is not empty."""
    if isinstance(value, Section):
        value = {
            name: option for name, option in written(value).items() if not is_free(value, name)
        }
    elif isinstance(value, list) and isinstance(next(iter(value), None), Section):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _given(entry, (*keys, key))
    elif value not in (None, []):
        yield keys, value


def map_urls(value: Any, change: Callable[[str], str]) -> Any:
    """Return options with their URLs changed, and without those that become empty."""
    if isinstance(value, Section):
        options = {name: map_urls(option, change) for name, option in value}
        if isinstance(value, File | Source):
            options["urls"] = [url for url in map(change, value.urls) if url]
        return value.model_copy(update=options)
    if isinstance(value, dict):
        return {name: map_urls(option, change) for name, option in value.items()}
    return [map_urls(option, change) for option in value] if isinstance(value, list) else value


def written(section: Section) -> dict[str, Any]:
    """The options of a section; of text that lies somewhere, only those that say something."""
    if isinstance(section, File | Source):
        fields = type(section).model_fields
        return {name: value for name, value in section if value != fields[name].default}
    return dict(section)


class Dumper(yaml.SafeDumper):
    """Quotes text that any version of YAML would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if text.isprintable() else '"'  # other styles lose odd line breaks
    return dumper.represent_scalar(f"{TAG}str", text, style=style)


def _list_node(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    short = len(str(items)) <= 80 and not any(isinstance(item, Section) for item in items)
    return dumper.represent_sequence(f"{TAG}seq", items, flow_style=short)


def _section_node(dumper: yaml.SafeDumper, section: Section) -> yaml.Node:
    options = written(section)
    if list(options) == ["path"]:
        return dumper.represent_data(options["path"])
    if isinstance(section, Origin) and section.encoder == section.decoder:
        return dumper.represent_data(section.encoder)
    if isinstance(section, Normalization):
        return dumper.represent_data(section.told)
    return dumper.represent_mapping(f"{TAG}map", options)


PLAIN_TEXT = re.compile(rf"({'|'.join(pattern for pattern, _ in PLAIN)})\Z")
Dumper.add_implicit_resolver("!1.2", PLAIN_TEXT, None)  # beside those of version 1.1
Dumper.add_representer(str, _text_node)
Dumper.add_representer(list, _list_node)
Dumper.add_multi_representer(Section, _section_node)
