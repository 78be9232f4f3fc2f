"""What a user can mend, printed as one message without a traceback."""


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
