"""Logger of runs for stderr: one line for each warning and failure. Everything else is in the UI."""

import logging
import os
import re
import sys
from typing import Any, TextIO

import dagster as dg

MAX_LINE, MAX_END = 400, 160  # characters of a line, and of its end where it is cut
PROGRESS = "BIZCHARTS_RUN_PROGRESS"  # set by `bizcharts run`, to log the steps too
# Run config that replaces Dagster's own logger by `console_log` in a job.
CONSOLE: dict[str, Any] = {"loggers": {"console": {}}}
_ASSETS_ALONE = "__ASSET_JOB"  # Dagster's name for a run of assets without a job, such as a backfill
_STEPS = {"STEP_START": "started", "STEP_SUCCESS": "done", "STEP_SKIPPED": "skipped"}
_TROUBLE = {"STEP_FAILURE", "RUN_FAILURE"}
_NO_MESSAGES = "[pipes] did not receive any messages"  # of a training that ended before a pod was rented
_STOP = "DagsterExecutionInterruptedError"  # Dagster raises it in a run that receives SIGINT or SIGTERM
_CLASS = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_]\w*)+: ")


class OneLine(logging.Filter):
    """Filter for the relevant records, each as one line in ``record.line``."""

    def __init__(self, *, progress: bool) -> None:
        super().__init__()
        self._progress = progress

    def filter(self, record: logging.LogRecord) -> bool:
        meta = getattr(record, "dagster_meta", None) or {}
        event, step, job = meta.get("dagster_event"), meta.get("step_key"), meta.get("job_name")
        kind = event.event_type_value if event else None
        message = meta.get("orig_message") or record.getMessage()
        if kind in _STEPS and self._progress:
            text = _STEPS[kind]
        elif kind in _TROUBLE and (kind != "RUN_FAILURE" or not _is_of_a_step(event)):
            text = "stopped before its end" if _is_stopped(event) else f"failed: {reason(event)}"
        elif kind == "ASSET_CHECK_EVALUATION" and (failed := _failed_check(event)):
            text = failed
        elif (
            event is None
            and not message.endswith("Not executing.")
            and not message.startswith(_NO_MESSAGES)
            and (record.levelno >= logging.WARNING or (self._progress and record.levelno >= logging.INFO))
        ):
            text = f"{record.levelname.lower()}: {message}"
        else:
            return False
        names = ", ".join(name for name in (job, step) if name and name != _ASSETS_ALONE)
        line = " ".join(f"{names}: {text}".split())
        if len(line) > MAX_LINE:  # the UI has all of it; an error's last words often name the file that was kept
            line = f"{line[: MAX_LINE - MAX_END - 5]} ... {line[-MAX_END:]}"
        record.line = line
        return True


def reason(event: Any) -> str:
    """Return the message of the asset's or resource's exception, without a traceback."""
    error = getattr(event.event_specific_data, "error", None)
    while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause  # unwrap Dagster's own errors
    message = error.message.strip() if error is not None else (event.message or "no reason given")
    return _CLASS.sub("", message)


def _failed_check(event: Any) -> str | None:
    """Return the name of a check that has failed with its first offenders; ``None`` if it passed or is a warning."""
    found = event.event_specific_data
    if found.passed or found.severity is not dg.AssetCheckSeverity.ERROR:
        return None
    offenders = found.metadata.get("offenders")
    return f"check {found.check_name} failed{f': {offenders.value}' if offenders else ''}"


def _is_stopped(event: Any) -> bool:
    """Whether a step or run ended because it was told to stop."""
    error = getattr(event.event_specific_data, "error", None)
    return error is not None and _STOP in {error.cls_name, error.cause.cls_name if error.cause else None}


def _is_of_a_step(event: Any) -> bool:
    """Return whether the run failed because of a step, which has already been logged."""
    return "Steps failed" in (event.message or "")


def _console_logger(context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("bizcharts.runs", level=logging.DEBUG)
    handler = logging.StreamHandler(_own_stderr())
    handler.addFilter(OneLine(progress=bool(os.environ.get(PROGRESS))))
    handler.setFormatter(logging.Formatter("%(asctime)s %(line)s", "%Y-%m-%d %H:%M:%S"))
    logger.addHandler(handler)
    return logger


def _own_stderr() -> TextIO:
    """Return the stderr from before Dagster captures that of steps: Dagster forwards it through another process, which
    may end before the last lines, such as a failure."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError):  # a stderr without a descriptor
        return sys.stderr


console_log = dg.LoggerDefinition(
    _console_logger,
    description="One line for each warning and failure; with BIZCHARTS_RUN_PROGRESS, for each step too.",
)
