"""What people see while a command runs: all of it on standard error, so that results stay clean.

Of several processes that work together, the first speaks for all.
"""

import sys
from typing import TYPE_CHECKING

from seq2seq.distributed import leads

if TYPE_CHECKING:
    from tqdm import tqdm

LARGE = 1e6  # numbers above are shown by their magnitude


def say(text: str) -> None:
    """Shows a line."""
    if leads():
        print(text, file=sys.stderr, flush=True)


def interject(text: str) -> None:
    """Shows a line, and below it the progress bars that there are."""
    if "tqdm" in sys.modules:  # else there was no bar
        from tqdm import tqdm

        with tqdm.external_write_mode(sys.stderr):
            say(text)
    else:
        say(text)


def bar(description: str, total: int | None, unit: str) -> "tqdm":
    """A progress bar; nothing where there is no terminal."""
    from tqdm import tqdm  # it takes longer than many a line to translate

    hidden = None if leads() else True  # None: shown on a terminal
    return tqdm(desc=description, total=total, unit=f" {unit}", disable=hidden, leave=False)


def format_number(value: float, decimals: int = 2) -> str:
    """Return a number as people read it: a perplexity of 97 digits as 1.23e+96."""
    return f"{value:.2e}" if abs(value) >= LARGE else f"{value:.{decimals}f}"


def printable(text: str) -> str:
    """Text that may be shown: a terminal obeys control characters, whoever wrote them."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
