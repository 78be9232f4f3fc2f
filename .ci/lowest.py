"""Prints the lowest versions that pyproject.toml allows, as requirements.

Those of torch and numpy, whose old versions have no wheels for new Pythons, and of the tools that
developers have, stay what they are.
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
wanted = [
    *project["dependencies"],
    *(one for name in extras if name != "dev" for one in extras[name]),
]
for requirement in wanted:
    if not re.match(r"(torch|numpy)\b", requirement):
        print(requirement.replace(">=", "==", 1))
