"""Base class of all errors shown to users."""


class BizchartsError(Exception):
    """An expected failure. Its message names the fault, its place, and what to do about it.

    The command line prints it as one line and exits with status 1; every package derives its own errors from it.
    """
