"""The lines of a run on the console: one each, short, and a stop is no failure."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from resources.console_log import MAX_LINE, OneLine


class Lines(logging.Handler):
    """Collects the lines of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.addFilter(OneLine(progress=False))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.line)


def lines_of(job: dg.JobDefinition) -> list[str]:
    handler = Lines()

    def logger(_: dg.InitLoggerContext) -> logging.Logger:
        made = logging.Logger("lines", level=logging.DEBUG)
        made.addHandler(handler)
        return made

    definition = dg.LoggerDefinition(logger)
    with_lines = dg.GraphDefinition(name=job.name, node_defs=list(job.graph.node_defs)).to_job(
        logger_defs={"lines": definition}, config={"loggers": {"lines": {}}}
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


@pytest.fixture(autouse=True)
def handlers_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
