"""What people see while a command runs: all of it on standard error, so that results stay clean."""

import sys

from tqdm import tqdm


def say(text: str) -> None:
    """Shows a line."""
    print(text, file=sys.stderr, flush=True)


def bar(description: str, total: int | None, unit: str) -> tqdm:
    """A progress bar; nothing where there is no terminal."""
    return tqdm(desc=description, total=total, unit=f" {unit}", disable=None, leave=False)
