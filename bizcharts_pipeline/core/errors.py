"""Base class of all errors shown to users, and the wording of Python's own errors."""

import json
import re
from pathlib import Path

# As tracebacks and Dagster name exceptions: with their modules, but for Python's own.
_CLASS = re.compile(r"(?:(?:[A-Za-z_]\w*\.)+[A-Z]\w*|\b[A-Z]\w*Error): (?:\[Errno \d+\] )?")
_KIND = re.compile(r"^(?:[A-Z]\w* ){1,3}Error: ")  # how DuckDB's messages begin


class BizchartsError(Exception):
    """An expected failure. Its message names the fault, its place, and what to do about it.

    The command line prints it as one line and exits with status 1; every package derives its own errors from it.
    """


def reason_of(error: BaseException) -> str:
    """Return in words why something could not be read or written: without error numbers and names of Python's classes.

    The name of a file is added, without its folder.
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{Path(str(error.filename)).name}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: {error}"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]}" if error.args else "a value is missing"
    if isinstance(error, TypeError | AttributeError | IndexError):
        return "it has another structure than expected"
    return without_kind(str(error)) or "no reason was given"


def without_classes(message: str) -> str:
    """Return a message without the names of exceptions' classes in it."""
    return _CLASS.sub("", message)


def without_kind(message: str) -> str:
    """Return a message of DuckDB without the kind of error that it begins with."""
    return _KIND.sub("", message)
