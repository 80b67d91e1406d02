"""The root of every error that a user is meant to read."""


class BizchartsError(Exception):
    """An expected failure. Its message says what went wrong, where, and what to do about it.

    The command line prints it as one line and exits with status 1; every room derives its own named errors from it.
    """
