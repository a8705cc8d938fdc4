"""Errors of the integer world; each knows the exit code that a command line ends with."""


class HmdfError(Exception):
    """Something a user can fix; the message says what is wrong, where, and what to do."""

    exit_code = 3


class ProgramError(HmdfError):
    """A Program, or the file that holds one, is not valid."""


class InputError(HmdfError):
    """Samples that do not fit the program: wrong shape, range or a value that is not a number."""


class TargetError(HmdfError):
    """A hardware target is unknown, or its description is not valid."""


class DoesNotFit(HmdfError):  # noqa: N818 - the name says what happened
    """The program is valid but the target cannot hold it."""

    exit_code = 4


class Mismatch(HmdfError):  # noqa: N818 - the name says what happened
    """Two executors gave different integers."""

    exit_code = 5
