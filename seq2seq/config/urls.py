"""URLs and the secrets in them: user info, the values of a query, ${NAME} from the environment.

Whatever is shown or kept for comparison goes through `masked`, and whatever is written into a run
or a model folder through `without_secrets`. `expanded` makes the URL that is asked for, and nothing
else may see its result.
"""

import os
import re
from typing import NamedTuple
from urllib.parse import quote

HIDDEN = "***"
VARIABLE = re.compile(r"\$\{(\w+)\}")
IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
SCHEME = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:(?=/))?/*")
PORT = re.compile(r"\d+|\$\{\w+\}")
LINK = re.compile(r"(::)(?=[A-Za-z][A-Za-z0-9+.-]*:/)")  # between the URLs of a chain of fsspec's
ARGUMENT = re.compile(r"([?&;#])([^?&;#=]*=)?[^?&;#]+")
PATH_ARGUMENT = re.compile(r"(;[^;/=]*=)[^;/]+")


class _Parts(NamedTuple):
    scheme: str  # with :// behind it
    user: str  # with @ behind it
    place: str  # host and path
    query: str  # from ? or # on


def masked(url: str) -> str:
    """Return a URL as it may be shown: without user info and without the values of its query."""
    return "".join(map(_masked, LINK.split(url)))


def masked_text(text: str) -> str:
    """Return text, such as the message of a library, with every URL in it masked."""
    return IN_TEXT.sub(lambda found: masked(found[0]), text)


def without_secrets(url: str) -> str:
    """Return a URL without user info and query, for files that others may read."""
    return "".join(map(_without_secrets, LINK.split(url)))


def expanded(url: str) -> str:
    """Return a URL with ${NAME} replaced by what the environment has.

    In user info and query the value stands for itself, so that any character may be in a password.
    Raises a KeyError for a variable that is not set.
    """

    def literal(found: re.Match[str]) -> str:
        return os.environ[found[1]]

    def quoted(found: re.Match[str]) -> str:
        return quote(os.environ[found[1]], safe="")

    scheme, user, place, query = _parts(url)
    before, after = VARIABLE.sub(literal, scheme), VARIABLE.sub(literal, place)
    return f"{before}{VARIABLE.sub(quoted, user)}{after}{VARIABLE.sub(quoted, query)}"


def _parts(url: str) -> _Parts:
    start = SCHEME.match(url)
    scheme = start[0] if start else ""
    rest = url[len(scheme) :]
    end = _end_of_user(rest)
    user, rest = rest[:end], rest[end:]
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    return _Parts(scheme, user, place, rest[len(place) :])


def _end_of_user(rest: str) -> int:
    """Return where user info ends; it may have / ? # and @ in it, where these were not escaped."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        return authority.rindex("@") + 1
    _, colon, port = authority.partition(":")
    if colon and not PORT.fullmatch(port) and not authority.startswith("["):
        return rest.rfind("@") + 1  # name:word is no host with a port
    return 0


def _masked(url: str) -> str:
    scheme, user, place, query = _parts(url)
    place = PATH_ARGUMENT.sub(rf"\1{HIDDEN}", place)
    query = ARGUMENT.sub(lambda found: f"{found[1]}{found[2] or ''}{HIDDEN}", query)
    return f"{scheme}{f'{HIDDEN}@' if user else ''}{place}{query}"


def _without_secrets(url: str) -> str:
    scheme, _, place, _ = _parts(url)
    return scheme + PATH_ARGUMENT.sub("", place)
