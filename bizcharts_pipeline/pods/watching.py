"""RUNNING: read a job's output until it ends, through connection losses, and distinguish finished from dead jobs."""

import shutil
from datetime import timedelta
from typing import NoReturn

from bizcharts_pipeline.core.blanking import Blanker, blank
from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.pods import remote
from bizcharts_pipeline.pods.errors import JobFailed, LinkLost, PodError
from bizcharts_pipeline.pods.plan import end_of_training
from bizcharts_pipeline.pods.protocol import State, Transport
from bizcharts_pipeline.pods.remote import Exit, Poll
from bizcharts_pipeline.pods.transport import CommandFailed
from bizcharts_pipeline.pods.work import Work

TAIL_BYTES = 4_000
_MUCH_BYTES = 500_000

# Meanings of the training scripts' exit statuses.
_BY_STATUS = {3: "out of memory", 4: "diverged", 5: "disk full"}
# Killed from outside: by the kernel or the host's shutdown.
_KILLED = frozenset({-9, -15, 128 + 9, 128 + 15})
# Stopped by the supervisor, as nothing polled it or an earlier run cancelled it: another pod may succeed.
_INTERRUPTED = frozenset({"lease", "cancelled", "killed"})


def watch(work: Work) -> None:
    """Follow the job on the pod until it has succeeded.

    Raises:
        JobFailed: it failed, hung, or took too long; the salvaged files are on this machine.
        PodLost: the pod disappeared, was reset, or cannot be reached.
        Cancelled: the run was cancelled.
    """
    work.enter(State.RUNNING, f"job in {work.root}")
    watched = _Watched(work)
    while (ended := watched.listen()) is None:
        watched.check_times()
        if not watched.behind:
            work.poll_pause()
    reason = _reason(ended)
    if reason is not None:
        _fail(work, reason, f"The job ended with status {ended.code} ({ended.reason}): {reason}")


class _Watched:
    """Progress of reading a job's output."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.messages_offset = self.log_offset = 0
        self.last_output_at = self.last_checkpoint = work.now()
        self.shown_log, self.shown_messages = Blanker(work.job.secrets), Blanker(work.job.secrets)
        self.last_output: int | None = None
        self.dead_polls = 0
        self.behind = False  # more output is available than one poll returns
        self.training_ends = end_of_training(work.pod.created_at, work.pod.deadline)

    def listen(self) -> Exit | None:
        """Read new output; return the job's exit once all output has been read."""
        poll = self._poll()
        self._pass_on(poll)
        if poll.exit is not None:
            self._show(self.shown_log.rest(), self.shown_messages.rest())
            return poll.exit
        self.behind = len(poll.messages) + len(poll.log) >= _MUCH_BYTES
        # A supervisor records the exit before it ends: a poll between the two may see neither.
        self.dead_polls = 0 if poll.alive else self.dead_polls + 1
        if self.dead_polls > 1:
            _fail(self.work, "killed", "The job's supervisor died without recording the job's exit")
        return None

    def check_times(self) -> None:
        """Stop a job that hangs or has reached its time limit; fetch a checkpoint when one is due."""
        work, now = self.work, self.work.now()
        if now >= self.training_ends:
            _stop(work)
            _fail(
                work,
                "max_runtime",
                f"The job did not finish in time (max_hours of [pods] is {work.settings.max_hours:g})",
            )
        stall = timedelta(minutes=work.settings.stall_minutes)
        if now - self.last_output_at >= stall:
            _stop(work)
            _fail(
                work, "hung", f"No output of the job for {work.settings.stall_minutes:g} min (stall_minutes of [pods])"
            )
        if work.job.checkpoints is not None and now - self.last_checkpoint >= work.checkpoint_every:
            self.last_checkpoint = now
            self._fetch_checkpoint()

    def _poll(self) -> Poll:
        def poll(transport: Transport) -> Poll:
            try:
                return remote.poll(transport, self.work.root, self.messages_offset, self.log_offset)
            except CommandFailed as error:  # a machine short of memory or disk may answer the next poll
                raise LinkLost(str(error)) from error

        return self.work.over_link(poll)

    def _pass_on(self, poll: Poll) -> None:
        work = self.work
        if poll.messages or poll.log or poll.last_output != self.last_output:
            self.last_output_at = work.now()
        self.last_output = poll.last_output
        if poll.log:
            self.log_offset += len(poll.log)
        if poll.messages:
            self.messages_offset += len(poll.messages)
        self._show(self.shown_log.feed(poll.log), self.shown_messages.feed(poll.messages))
        work.stop_if_cancelled()

    def _show(self, log: bytes, messages: bytes) -> None:
        """Pass the job's output on to the listener; secrets are masked by now."""
        work = self.work
        if log:
            work.tail = (work.tail + log)[-TAIL_BYTES:]
            work.listener.log(log)
        if messages:
            work.listener.messages(messages)

    def _fetch_checkpoint(self) -> None:
        work, transport = self.work, self.work.transport
        assert transport is not None
        try:
            if remote.fetch_checkpoint(transport, work.root, work.checkpoint, work.progress_over(transport)):
                self.work.say("checkpoint fetched")
        except (PodError, OSError) as error:
            self.work.say(f"no checkpoint could be fetched; the next attempt may succeed: {reason_of(error)}")


def _reason(ended: Exit) -> str | None:
    """Return why a job failed, as a reason of :class:`JobFailed`; ``None`` if it succeeded."""
    if ended.reason == "max_runtime":
        return "max_runtime"
    if ended.reason in _INTERRUPTED or ended.code in _KILLED:
        return "killed"
    if ended.reason == "exited" and ended.code == 0:
        return None
    if ended.reason == "setup":
        return "failed"
    return "failed" if ended.code is None else _BY_STATUS.get(ended.code, "failed")


def _stop(work: Work) -> None:
    """Cancel the job; its output is salvaged next, and its pod terminated in any case."""
    assert work.transport is not None
    try:
        remote.cancel(work.transport, work.root)
    except PodError as error:
        work.say(f"the job could not be cancelled: {error}")


def _fail(work: Work, reason: str, message: str) -> NoReturn:
    """Salvage what can be fetched, and raise."""
    assert work.transport is not None
    saved = work.folder / "salvaged"
    try:
        remote.salvage(
            work.transport,
            work.root,
            saved,
            work.progress_over(work.transport),
            lambda content: blank(content, work.job.secrets),
        )
        message += f"; its log is in {saved}"
        if (saved / remote.SALVAGED).is_dir():
            shutil.rmtree(work.checkpoint, ignore_errors=True)
            (saved / remote.SALVAGED).replace(work.checkpoint)
    except (PodError, OSError) as error:
        work.say(f"not everything could be salvaged: {reason_of(error)}")
    tail = work.tail.decode("utf-8", "replace")
    last_line = next((line for line in reversed(tail.splitlines()) if line.strip()), "")
    raise JobFailed(f"{message}. Its last line: {last_line:.300}" if last_line else message, reason, tail)
