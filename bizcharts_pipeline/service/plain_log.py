"""Plain log of the service: one line without colours for each record; tracebacks and long texts go to a file.

Dagster's programs log in colours, and log a whole stack trace for each of several threads when the code server
restarts. :func:`install` changes the log handlers of the process that calls it. Each of the service's programs does so
before Dagster's own code runs; the processes that load the code location, which the code server starts, do so when they
load it.
"""

import logging
import logging.config
import os
import re
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from bizcharts_pipeline.core.errors import without_classes
from bizcharts_pipeline.core.files import regular_only

VARIABLE = "BIZCHARTS_SERVICE_DETAILS"  # path of the file of details; makes :func:`install_if_asked` act
FILE = "service-details.log"
MAX_BYTES = 5_000_000  # of the file; then it replaces the one of before
MAX_LINE = 300  # characters of a message
REPEAT_SECONDS = 300.0  # within this time, an equal line or error is written once
# What an operator cannot act on: Dagster writes it at the first start of an instance.
_IDLE = ("No cursor for event type",)
_CAUSED_BY = "The above exception was caused by the following exception:"  # between the errors of another process
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TRACE = re.compile(r"\s*(Stack Trace:|Traceback \(most recent call last\):)")
_SOURCE = re.compile(r"^\S+:\d+: (?=\w*Warning: )")  # of warnings.formatwarning


class OneLine(logging.Formatter):
    """Logging formatter and filter that writes one line for each record: the time in UTC, the last component of the
    logger's name, the level, and the beginning of the message."""

    converter = staticmethod(time.gmtime)

    def __init__(self, details: Path, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("%(asctime)s %(line)s", "%Y-%m-%d %H:%M:%S")
        self._details = details
        self._clock = clock
        self._written: dict[str, float] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Set ``record.line`` for the service's log, and return whether it is to be written; keep the rest of the
        record in the file."""
        full = record.getMessage()
        if full.startswith(_IDLE):
            return False
        text, rest = _shortened(full)
        name, cause = record.name.rsplit(".", 1)[-1], ""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is not None:
            cause = _shortened(str(error).rsplit(_CAUSED_BY, 1)[-1])[0]
            text = _cut(f"{text.rstrip('.:')}: {cause}") if cause else text
            rest = True
        line = f"{name}: {record.levelname.lower()}: {text}"
        if rest:
            self._keep(record, full)
            line += f" (details: {self._details})"
        record.line = line
        return self._is_new(f"{name}: {cause}" if cause else line)  # Dagster logs the error of a sensor twice

    def format(self, record: logging.LogRecord) -> str:
        record.asctime = self.formatTime(record, self.datefmt)
        return self.formatMessage(record)

    def _is_new(self, line: str) -> bool:
        with self._lock:
            now = self._clock()
            self._written = {known: at for known, at in self._written.items() if now - at < REPEAT_SECONDS}
            if line in self._written:
                return False
            self._written[line] = now
            return True

    def _keep(self, record: logging.LogRecord, full: str) -> None:
        """Append the whole record to the file of details, if that is possible."""
        trace = "".join(traceback.format_exception(*record.exc_info)) if isinstance(record.exc_info, tuple) else ""
        when = self.formatTime(record, self.datefmt)
        text = _COLOUR.sub("", f"{when} {record.name}, process {record.process}: {record.levelname}: {full}\n{trace}\n")
        with suppress(OSError):
            if self._details.exists() and self._details.stat().st_size > MAX_BYTES:
                self._details.replace(self._details.with_name(f"{self._details.name}.1"))
            with open(self._details, "a", encoding="utf-8", errors="backslashreplace", opener=regular_only) as file:
                file.write(text)


def install(details: Path) -> None:
    """Make every log handler of this process of the service plain, also those that are configured later; ``details``
    takes the rest.

    Uncaught exceptions and warnings are logged as well. A second call does nothing.
    """
    if any(_has_no_handler in handler.filters for handler in logging.root.handlers):
        return
    plain = OneLine(details)
    configure = logging.config.dictConfig

    def then_plain(config: Any) -> None:
        configure(config)
        _make_plain(plain)

    logging.config.dictConfig = then_plain
    # A root logger without a handler gets one at each `logging.warning`, which repeats the records of all loggers.
    others = logging.StreamHandler()
    others.setLevel(logging.WARNING)
    others.addFilter(_has_no_handler)
    logging.root.addHandler(others)
    _make_plain(plain)
    warnings.showwarning = _log_warning
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda caught: _log_uncaught(caught.exc_type, caught.exc_value, caught.exc_traceback)
    BaseProcess.run = _then_log_uncaught(BaseProcess.run)  # type: ignore[assignment, method-assign]


def install_if_asked() -> bool:
    """Call :func:`install` if the service has named a file of details in the environment; return whether it has."""
    details = os.environ.get(VARIABLE)
    if details:
        install(Path(details))
    return bool(details)


def _has_no_handler(record: logging.LogRecord) -> bool:
    """Whether no logger below the root logger handles the record."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger is not logging.root:
        if logger.handlers:
            return False
        logger = logger.parent
    return True


def _make_plain(plain: OneLine) -> None:
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if type(handler) is logging.StreamHandler:
            _set(handler, plain)


def _set(handler: logging.Handler, plain: OneLine) -> None:
    handler.setFormatter(plain)
    if plain not in handler.filters:
        handler.addFilter(plain)


def _shortened(full: str) -> tuple[str, bool]:
    """Return a message's first part as one line, and whether something was left out."""
    first = _TRACE.split(full, maxsplit=1)[0]
    text = without_classes(_SOURCE.sub("", _COLOUR.sub("", " ".join(first.split()))))
    return _cut(text), len(first) < len(full) or len(text) > MAX_LINE


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_LINE else text[: MAX_LINE - 3] + "..."


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    logging.getLogger("dagster").warning(warnings.formatwarning(message, category, filename, lineno, line))


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        what = f"ended by an unexpected {kind.__name__}"
        logging.getLogger("dagster").critical(what, exc_info=(kind, error or kind(), trace))


def _then_log_uncaught(run: Callable[[BaseProcess], None]) -> Callable[[BaseProcess], None]:
    """Return :meth:`BaseProcess.run` with a log of its exception, which :mod:`multiprocessing` would print."""

    def logged(process: BaseProcess) -> None:
        try:
            run(process)
        except Exception as error:
            _log_uncaught(type(error), error, error.__traceback__)
            sys.exit(1)

    return logged
