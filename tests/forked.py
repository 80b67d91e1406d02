"""Python programs as real processes that need not import anything: each is forked from one that has.

A process of Dagster's command line takes three seconds to start, of which two and a half are imports. What is tested
here is what such a process does, and what is left of it after a kill; the start itself is tested where it matters.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import TimeoutExpired

_PRELOADED = ["dagster", "dagster._cli", "bizcharts_pipeline.definitions", "bizcharts_pipeline.cli.main"]
_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload(_PRELOADED)


class ForkedProcess:
    """As much of ``subprocess.Popen`` as tests need; what the program prints is kept in files."""

    def __init__(
        self,
        run: Callable[..., None],
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: dict[str, str],
        merged: bool = False,
        log: Path | None = None,
    ) -> None:
        """Call ``run``, a function of a module, in a process of its own.

        If ``merged``, stderr goes to stdout; a ``log`` gets both, appended.
        """
        self._printed = tempfile.TemporaryDirectory(prefix="forked")
        self._out = log or Path(self._printed.name) / "out"
        self._err = self._out if merged or log else Path(self._printed.name) / "err"
        self._out.touch()
        self._err.touch()
        self._process = _forkserver.Process(
            target=_in_the_child,
            args=(run, tuple(arguments), str(folder), environment, str(self._out), str(self._err)),
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; return what went to stdout and to stderr."""
        self.wait(timeout)
        out, err = (path.read_text(errors="replace") for path in (self._out, self._err))
        return out, "" if self._err == self._out else err


def run_module(*arguments: str) -> None:
    """``python -m arguments``."""
    sys.argv = [*arguments]
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def run_script(*arguments: str) -> None:
    """``python arguments``."""
    sys.argv = [*arguments]
    sys.path.insert(0, str(Path(arguments[0]).parent))
    runpy.run_path(arguments[0], run_name="__main__")


def run_bizcharts(*arguments: str) -> None:
    """The command line, as its entry point in ``bin`` runs it."""
    from bizcharts_pipeline.cli.start import main

    sys.argv = ["bizcharts", *arguments]
    main()


def _in_the_child(
    run: Callable[..., None], arguments: tuple[str, ...], folder: str, environment: dict[str, str], out: str, err: str
) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    files = [nothing, *(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for path in (out, err))]
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    # multiprocessing has put its own stdin in place; the two others still write to descriptors 1 and 2.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    try:
        run(*arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
