"""What people see: messages and progress on standard error, tables on standard output.

All of it goes through `for_terminal`: names, corpora and servers are foreign, and a terminal obeys
control characters, whoever wrote them. Of several processes that work together, the first speaks
for all.
"""

import re
import sys
from typing import TYPE_CHECKING

from seq2seq.distributed import leads

if TYPE_CHECKING:
    from tqdm import tqdm

LARGE = 1e6  # numbers above are shown by their magnitude


# C0 and C1 with ESC, line and paragraph separators, bidirectional overrides, lone surrogates. What
# scripts need stays: joiners, marks of direction, combining marks, spaces that do not break.
OBEYED = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def for_terminal(text: str) -> str:
    """Return text as one line that any terminal may show: characters that it obeys are escaped."""
    return OBEYED.sub(lambda found: repr(found[0])[1:-1], text)


def printable(text: str) -> str:
    """Return text with all that cannot be seen escaped, odd spaces too: data to be looked at."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def lines_for_terminal(text: str) -> str:
    """Return a message as any terminal may show it; its line ends are ours, and stay."""
    return "\n".join(map(for_terminal, text.split("\n")))


def say(text: str) -> None:
    """Shows a message on standard error."""
    if leads():
        print(lines_for_terminal(text), file=sys.stderr, flush=True)


def print_line(line: str) -> None:
    """Shows a line of a table on standard output."""
    print(for_terminal(line))


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
    shown = for_terminal(description)
    return tqdm(desc=shown, total=total, unit=f" {unit}", disable=hidden, leave=False)


def format_number(value: float, decimals: int = 2) -> str:
    """Return a number as people read it: a perplexity of 97 digits as 1.23e+96."""
    return f"{value:.2e}" if abs(value) >= LARGE else f"{value:.{decimals}f}"
