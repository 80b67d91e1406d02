"""The lines of a run on the console: one each, short, and a stop is no failure."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.errors import (
    DagsterExecutionInterruptedError,
    DagsterInvariantViolationError,
    DagsterResourceFunctionError,
    user_code_error_boundary,
)
from dagster._utils.error import serializable_error_info_from_exc_info

from bizcharts_pipeline.core.errors import BizchartsError
from resources.console_log import MAX_LINE, OneLine, reason


class Lines(logging.Handler):
    """Collects the lines of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.addFilter(OneLine(progress=False))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.line)


def logging_to(handler: logging.Handler) -> dg.LoggerDefinition:
    def logger(_: dg.InitLoggerContext) -> logging.Logger:
        made = logging.Logger("lines", level=logging.DEBUG)
        made.addHandler(handler)
        return made

    return dg.LoggerDefinition(logger)


def lines_of(job: dg.JobDefinition) -> list[str]:
    handler = Lines()
    with_lines = dg.GraphDefinition(name=job.name, node_defs=list(job.graph.node_defs)).to_job(
        logger_defs={"lines": logging_to(handler)}, config={"loggers": {"lines": {}}}
    )
    with dg.DagsterInstance.ephemeral() as instance, suppress(DagsterExecutionInterruptedError):
        with_lines.execute_in_process(instance=instance, raise_on_error=False)
    return handler.lines


def test_a_run_that_is_stopped_is_not_said_to_have_failed() -> None:
    @dg.op
    def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    @dg.job
    def stopped() -> None:
        work()

    lines = lines_of(stopped)
    assert lines
    assert not [line for line in lines if "failed" in line or "Dagster" in line]


def test_a_resource_that_fails_is_told_with_its_cause() -> None:
    try:
        try:
            with user_code_error_boundary(DagsterResourceFunctionError, lambda: "Error executing resource_fn"):
                raise BizchartsError("the home is empty; mount its disk")
        except DagsterResourceFunctionError as error:
            raise DagsterInvariantViolationError("the step was not started") from error
    except DagsterInvariantViolationError:
        told = serializable_error_info_from_exc_info(sys.exc_info())
    event = SimpleNamespace(event_specific_data=SimpleNamespace(error=told), message=None)
    assert reason(event) == "the home is empty; mount its disk"


def test_a_long_failure_is_cut_in_its_middle_and_keeps_its_last_words() -> None:
    @dg.op
    def work() -> None:
        raise dg.Failure("https://prices.example/?ids=" + "a" * 1000 + ", kept as /kept/answer.json")

    @dg.job
    def failing() -> None:
        work()

    (line,) = lines_of(failing)
    assert line.startswith("failing, work: failed: https://prices.example")
    assert len(line) == MAX_LINE
    assert " ... " in line
    assert line.endswith(", kept as /kept/answer.json")


@pytest.mark.parametrize("severity", list(dg.AssetCheckSeverity))
def test_a_failed_check_is_named_with_what_offends_and_a_warning_is_not(severity: dg.AssetCheckSeverity) -> None:
    @dg.asset_check(asset="posts")
    def complete() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, severity=severity, metadata={"offenders": "post 7 is missing"})

    handler = Lines()
    job = dg.define_asset_job("checking", dg.AssetSelection.checks(complete), config={"loggers": {"lines": {}}})
    found = dg.Definitions(asset_checks=[complete], jobs=[job], loggers={"lines": logging_to(handler)})
    found.resolve_job_def("checking").execute_in_process(instance=dg.DagsterInstance.ephemeral())
    failed = "checking, posts_complete: check complete failed: post 7 is missing"
    assert handler.lines == ([failed] if severity is dg.AssetCheckSeverity.ERROR else [])


@pytest.fixture(autouse=True)
def handlers_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
