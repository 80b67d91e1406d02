"""Events to alert about, and how their texts are written."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from bizcharts_pipeline.text.untrusted import plain

MAX_LINE = 200  # characters; services cut or split longer messages


@dataclass(frozen=True)
class Event:
    """Something to alert about. Times are naive UTC.

    ``kind``, ``subject`` and ``occasion`` identify it: they are derived from the data that the event is about, so that
    the same data never makes a second event. ``subject`` is also what a pause between two alerts applies to.
    """

    kind: str
    subject: str
    occasion: str
    title: str
    lines: tuple[str, ...]
    happened_at: datetime

    @property
    def key(self) -> str:
        """The identity of the event."""
        return f"{self.kind}|{self.subject}|{self.occasion}"

    @property
    def number(self) -> str:
        """A short form of the event's key, by which receivers can tell two copies of one alert from two events."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:10]

    @property
    def message(self) -> str:
        """The text of an alert, below the title."""
        return "\n".join([*(plain(line, MAX_LINE) for line in self.lines), f"Event {self.number}"])


def utc(moment: datetime) -> str:
    """Return a naive UTC time as it is written in alerts."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"
