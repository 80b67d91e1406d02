"""Live view of a pod's job in its Dagster run.

The pod's script writes Dagster Pipes messages to a file; each poll of the pod fetches the new ones and passes them on
here. So no reader thread is needed, and a broken connection loses nothing: the next poll resumes where the last one
stopped.
"""

import codecs
import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import dagster as dg

from bizcharts_pipeline.pods.protocol import State

MESSAGES = "messages.jsonl"  # in the job's folder
MAX_LINE_BYTES = 1_000_000
MAX_OBSERVATIONS = 500
MAX_SAID = 500  # characters
_STOPPED = {dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED}


class PodMessages(dg.PipesMessageReader):
    """Tells the script where to write; the polls do the reading."""

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[dict[str, str]]:
        yield {"path": MESSAGES}

    @property
    def expected_writer_count(self) -> int:
        """The number of processes that write messages: the job's script only."""
        return 1

    def no_messages_debug_text(self) -> str:
        return f"The job's {MESSAGES} was fetched with its log; the log shows how far the job came."


class PodWatch:
    """The listener of one materialisation. ``environment`` contains the Pipes variables for the script."""

    def __init__(self, context: dg.AssetExecutionContext, session: dg.PipesSession) -> None:
        self.environment: Mapping[str, str] = session.get_bootstrap_env_vars()
        self.metrics: dict[int, dict[str, float]] = {}  # by step
        self._is_interrupted = False
        self._context = context
        self._handler = session.message_handler
        self._unfinished = b""
        self._too_long = False
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def state(self, state: State, detail: str) -> None:
        """Write the state to the run's log."""
        if state is State.CREATING:  # another pod has another message file
            self._unfinished, self._too_long = b"", False
        log = self._context.log.warning if state in (State.LOST, State.ORPHAN) else self._context.log.info
        log(f"pod {state.value}: {detail}" if detail else f"pod {state.value}")

    def log(self, chunk: bytes) -> None:
        """Write the output to the step's stdout, which Dagster stores as compute log."""
        sys.stdout.write(self._decoder.decode(chunk))
        sys.stdout.flush()

    def messages(self, chunk: bytes) -> None:
        """Process the complete lines; the rest waits for the next chunk."""
        *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
        for line in lines:
            if line and not self._too_long:
                self._take(line)
            self._too_long = False
        if len(self._unfinished) > MAX_LINE_BYTES:
            self._unfinished, self._too_long = b"", True

    def cancelled(self) -> bool:
        """Return whether the run is being cancelled, by a signal or by its status in the instance."""
        if self._is_interrupted:
            return True
        run = self._context.instance.get_run_by_id(self._context.run.run_id)
        return run is not None and run.status in _STOPPED

    def interrupt(self) -> None:
        """Note that the run has received a signal."""
        self._is_interrupted = True

    def metadata(self) -> dict[str, dg.MetadataValue]:
        """Return the last value of every reported metric."""
        last: dict[str, float] = {}
        for _, figures in sorted(self.metrics.items()):
            last |= figures
        return {f"last {name}": dg.MetadataValue.float(value) for name, value in last.items()}

    def _take(self, line: bytes) -> None:
        # The pod is not trusted; a malformed line must not abort the training.
        try:
            message = json.loads(line)
            if message["method"] == "report_custom_message":
                self._tell(message["params"]["payload"])
            else:
                self._handler.handle_message(message)
        except Exception as error:
            self._context.log.warning(f"a message of the pod cannot be parsed ({type(error).__name__}): {line[:200]!r}")

    def _tell(self, payload: Mapping[str, Any]) -> None:
        about = {name: value for name, value in payload.items() if name != "kind"}
        if payload["kind"] == "metrics":
            self._measure(int(about.pop("step")), about.pop("steps", None), _numbers(about))
        else:
            said = ", ".join(f"{name} {value}" for name, value in about.items())
            self._context.log.info(f"{payload['kind']}: {said}"[:MAX_SAID])

    def _measure(self, step: int, steps: object, figures: dict[str, float]) -> None:
        self.metrics[step] = self.metrics.get(step, {}) | figures
        said = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self._context.log.info(f"step {step}{f' of {steps}' if steps else ''}: {said}")
        if len(self.metrics) <= MAX_OBSERVATIONS:  # the UI plots them as they come
            self._context.log_event(dg.AssetObservation(self._context.asset_key, metadata={"step": step, **figures}))


@contextmanager
def watched(context: dg.AssetExecutionContext) -> Iterator[PodWatch]:
    """Yield the listener that passes a pod's states, log and messages on to the run of ``context``.

    SIGINT and SIGTERM also mark it as cancelled: Python discards the exception of a signal handler that runs within a
    finalizer or a callback of C code, and the pod would be paid to the end of its job.
    """
    with dg.open_pipes_session(
        context=context, context_injector=dg.PipesEnvContextInjector(), message_reader=PodMessages()
    ) as session:
        watch = PodWatch(context, session)
        with _on_interrupt(watch.interrupt):
            yield watch


@contextmanager
def _on_interrupt(note: Callable[[], None]) -> Iterator[None]:
    """Call ``note`` when SIGINT or SIGTERM arrives, before its handler runs; outside the main thread, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}

    def noted(number: int, frame: FrameType | None) -> None:
        note()
        handlers[signal.Signals(number)](number, frame)

    try:
        for number in handlers:
            signal.signal(number, noted)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers; those of a nested mapping are prefixed with its name."""
    found: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            found |= {f"{name} {inner}": number for inner, number in _numbers(value).items()}
        elif type(value) in (int, float) and math.isfinite(value):
            found[str(name)] = float(value)
    return found
