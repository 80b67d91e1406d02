"""Entry point of ``bizcharts``: a signal prints one line, even during imports and interpreter shutdown."""

import os
import signal

MESSAGE = "bizcharts: Stopped."
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Load the command line and run it; exit statuses are those of :func:`bizcharts_pipeline.cli.main.main`."""
    _on_signals(_exit_at_once)
    from bizcharts_pipeline.cli.main import main as run

    _on_signals(signal.default_int_handler)
    try:
        run()
    finally:
        _on_signals(_exit_at_once)


def _on_signals(handler: "signal._HANDLER") -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


def _exit_at_once(number: int, frame: object) -> None:
    """Exit without an exception, which a module being imported could convert into another one."""
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(1)
