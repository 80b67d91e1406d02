"""Entry point of ``bizcharts``: a signal prints one line, even during imports and interpreter shutdown.

The exit status is then 128 and the signal's number, as that of a shell's command: 130 for Ctrl-C, 143 for SIGTERM.
"""

import os
import signal

MESSAGE = "bizcharts: Stopped."
STATUS = 128  # and the number of the signal: the exit status of an interrupted command
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Load the command line and run it; exit statuses are those of :func:`bizcharts_pipeline.cli.main.main`."""
    _on_signals(_exit_at_once)
    from bizcharts_pipeline.cli.main import main as run

    _on_signals(_interrupt)
    try:
        run()
    finally:
        _on_signals(_exit_at_once)


def _on_signals(handler: "signal._HANDLER") -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    """Handle a signal: raise an interruption that carries its number."""
    raise KeyboardInterrupt(number)


def _exit_at_once(number: int, frame: object) -> None:
    """Exit without an exception, which a module being imported could convert into another one."""
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(STATUS + number)
