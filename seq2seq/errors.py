"""What a user can mend, printed as one message without a traceback."""

import errno


class UserError(Exception):
    """Something a user can mend: the message says where, what, and what to do. Exit code 1."""

    exit_code = 1


class SharedError(UserError):
    """What all processes that work together find alike: the first on each machine says it."""


class ConfigError(SharedError):
    """A command line or a config that cannot be used. Exit code 2."""

    exit_code = 2


class Stopped(BaseException):
    """A signal asked to stop, and what was to be saved is; no error, so that none swallows it.

    Exit code: 128 + the number of the signal.
    """

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


# The words of PyTorch on a processor and on a GPU, of oneDNN, C++ and the system.
REFUSALS = ("allocate memory", "out of memory", "not enough memory", "bad_alloc", "bad allocation")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is a refused allocation: Python's, NumPy's, PyTorch's or another's.

    It is told by its text, too, because PyTorch has no class for what a processor lacks.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True  # Python's and NumPy's, or PyTorch's, which is not imported here
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in REFUSALS)
