"""Laws of `seq2seq config`: what it shows means the same; its schema knows what can be given."""

import json
import random
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import ValidationError
from test_config import CORPORA, DATA, VALUES, WRONG_RULES, filtered_by, train_on

from seq2seq.config import Config, load
from seq2seq.config.documentation import all_sections, described
from seq2seq.config.reading import Document
from seq2seq.config.schema import schema
from seq2seq.config.showing import WIDTH
from seq2seq.config.showing import show as shown

CONFIGS = sorted(Path(__file__).parents[1].glob("configs/**/*.yaml"))

OVERRIDES = [
    "training.learning_rate=3e-4",
    "training.freeze=[encoder, '!*norm*', 'decoder.0']",
    "data.train.0.tag=<bt>",
    "data.train.0.objective={task: spans, noise_density: 0.25}",
    "data.train.0.filters=[empty, {rule: length, max: 7}]",
    "data.filters=[empty, {rule: duplicates, of: source}]",
    "data.test.more-of-it={source: a b.en, target: c.de, references: [d.de, {path: e.de}]}",
    "data.test.1e5.parts=[x.tsv, {path: y.tsv, fields: [1, 3]}]",
    "data.test.one=pairs.tsv",
    "data.prepared='yes'",
    "data.source=no",
    "data.target='two: words # here'",
    "training.metrics=[chrf, ppl]",
    "evaluation.metrics=[length]",
    "training.max_minutes=0.5",
    "decoding.max_length=7",
    "data.normalize=[nfc, whitespace]",
]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_that_is_shown_loads_as_the_same(path, tmp_path):
    """With any options changed, and however often it is shown."""
    choose = random.Random(path.stem)
    translates = load(path).data.valid.objective.task == "translation"  # else ppl alone is judged
    fitting = [one for one in OVERRIDES if translates or "training.metrics" not in one]
    for count in (0, 0, 3, 5, 9):
        config = load(path, choose.sample(fitting, count))
        text = shown(config)
        other = tmp_path / "other.yaml"
        other.write_text(text, encoding="utf-8")
        assert load(other) == config
        assert shown(load(other)) == text
        assert yaml.safe_load(text).keys() == {*Config.model_fields}


def test_every_option_stands_below_what_it_means():
    """Of the chosen kind of model; comments are no wider than a page, and none comes twice."""
    config = load(CONFIGS[0], ["seed=5", "training.batch_tokens=77"])
    lines = shown(config).splitlines()
    words = " ".join(line.strip().removeprefix("# ") for line in lines)
    for above, section in all_sections():
        if above.startswith(("data.valid.", "model.")) or section not in (
            type(config),
            *(type(value) for _, value in config),
        ):
            continue
        for name in section.model_fields:
            assert described(section, name) in words, f"{above}{name}"
            assert sum(line.lstrip("- ").startswith(f"{name}:") for line in lines) >= 1
    assert "# Where all randomness comes from. Unless given: 1." in lines
    assert "Unless given: 4096." in words
    assert all(len(line) <= WIDTH for line in lines if line.lstrip().startswith("#"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_published_configs_fit_the_schema(path):
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema())


LAXER = {"conflict", "finite_number"}  # what JSON Schema cannot tell


@pytest.mark.parametrize(
    "text",
    [
        # yes and no are taken for true and false, but an editor does well to mark them
        *(DATA + text for text in VALUES if not text.endswith("shared: no")),
        *map(train_on, CORPORA),
        *map(filtered_by, WRONG_RULES),
    ],
)
def test_the_schema_refuses_what_a_config_cannot_be(text):
    """It knows all but what options forbid each other."""
    document = Document()
    document.read(text)
    found: set[str] = set()
    try:
        Config.model_validate({"name": "x", **document.data})
    except ValidationError as error:
        found = {
            problem["type"]
            for problem in error.errors()
            if problem["type"] not in LAXER and problem["input"] != 1e3  # a whole number to it
        }
    fits = jsonschema.Draft202012Validator(schema()).is_valid(document.data)
    assert fits == (not found), found


def test_every_option_of_the_schema_says_what_it_is():
    made = schema()
    for name, holder in {"": made, **made["$defs"]}.items():
        assert holder["description"]
        for option, one in holder["properties"].items():
            reference = one.get("$ref", "").rpartition("/")[2]
            among = [choice.get("$ref") for choice in one.get("oneOf", [])]
            assert one.get("description") or reference in made["$defs"] or among, f"{name}.{option}"


# Through the command line


def test_commands_print_what_the_functions_give(command, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    asked = ("config", "show", "configs/wmt14.yaml", "--set", "training.max_updates=77")
    config = load("configs/wmt14.yaml", ["training.max_updates=77"])
    assert command(*asked) == (0, shown(config).encode(), "")
    result = command("config", "schema")
    assert (result.code, json.loads(result.out), result.err) == (0, schema(), "")
    assert command("config", "show", "configs/none.yaml").code == 2
