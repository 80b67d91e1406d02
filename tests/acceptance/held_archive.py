"""An archive whose answers a test keeps back."""

import threading

from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.server import RequestRecord


class HeldArchive(SimulatedArchive):
    """An archive that can keep an answer back, so that whoever asked for it can be killed while waiting."""

    held_from: int | None = None

    def hold(self, after: int) -> None:
        """Answer so many more requests, and those after them once they are let go."""
        self._let_go = threading.Event()
        self.held_from = len(self.requests) + after

    def let_go(self) -> None:
        self.held_from = None
        self._let_go.set()

    def holds_somebody(self) -> bool:
        return self.held_from is not None and len(self.requests) > self.held_from

    def log(self, record: RequestRecord) -> None:
        super().log(record)
        if self.holds_somebody():
            self._let_go.wait(300)
