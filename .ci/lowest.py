"""Prints the lowest versions that pyproject.toml allows of what the tests need, as requirements.

Left out are torch and numpy, whose old versions lack wheels for new Pythons, and developers' tools.
"""

import re
from pathlib import Path

import tomllib

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
(tested,) = (found[1] for one in extras["dev"] if (found := re.match(r"seq2seq\[(.*)\]", one)))
wanted = [*project["dependencies"], *(one for name in tested.split(",") for one in extras[name])]
for requirement in wanted:
    if not re.match(r"(torch|numpy)\b", requirement):
        print(requirement.replace(">=", "==", 1))
