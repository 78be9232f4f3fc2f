"""Prints the lowest versions that pyproject.toml allows of what the tests need, as requirements.

Left out are torch and numpy, whose old versions lack wheels for new Pythons, and developers' tools.
"""

from importlib.metadata import requires

from packaging.requirements import Requirement

requirements = [Requirement(line) for line in requires("seq2seq") or []]
(tested,) = (one.extras for one in requirements if one.name == "seq2seq")
for one in requirements:
    needed = not one.marker or any(one.marker.evaluate({"extra": e}) for e in ["", *tested])
    if needed and one.name not in ("torch", "numpy", "seq2seq"):
        (lowest,) = one.specifier
        print(f"{one.name}=={lowest.version}")
