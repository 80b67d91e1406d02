"""Spool: a durable queue of raw polls, on disk before they are parsed or stored."""

import gzip
import json
import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.attempts import FOLDER as ATTEMPTS
from bizcharts_pipeline.core.attempts import Attempts
from bizcharts_pipeline.core.clock import from_epoch
from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import TEMPORARY_PREFIX, is_special, open_regular, sync, write_atomically
from bizcharts_pipeline.http.errors import CorruptPollError
from bizcharts_pipeline.http.exchange import BodyRefused, gunzipped
from bizcharts_pipeline.http.quarantine import keep_newest, write_reason

SUFFIX = ".poll.gz"
REJECTED_FOLDER = "rejected"
MAX_POLL_BYTES = 8 * 1024 * 1024  # decompressed; larger than the client's limit
_ABANDONED_AFTER_SECONDS = 3600.0
_DAMAGE = (BodyRefused, ValueError, KeyError, TypeError, RecursionError)


@dataclass(frozen=True)
class Poll:
    """One unparsed response of the catalogue. Times are naive UTC."""

    fetched_at: datetime
    status: int  # 200 or 304
    last_modified: datetime | None
    url: str
    body: bytes  # empty for 304
    validator: str | None = None  # Last-Modified as served
    served_at: datetime | None = field(default=None, compare=False)  # the source's own time, if sent; not spooled


class Spool:
    """The queue in ``folder``: one gzip file per poll, with a JSON line and the body. Limited only by the disk.

    ``attempts`` counts the processes that were killed while they read a poll.
    """

    def __init__(self, folder: Path, attempts: Attempts | None = None) -> None:
        self.folder = folder
        self.attempts = attempts or Attempts(folder / ATTEMPTS)

    def put(self, poll: Poll) -> Path:
        """Write ``poll`` of the board durably to the spool; return its file."""
        unique = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        path = self.folder / f"{poll.fetched_at:%Y%m%dT%H%M%S.%f}-{unique}{SUFFIX}"
        head = {
            "fetched_at": poll.fetched_at.isoformat(),
            "status": poll.status,
            "last_modified": poll.last_modified.isoformat() if poll.last_modified else None,
            "url": poll.url,
            "validator": poll.validator,
        }
        content = json.dumps(head).encode() + b"\n" + poll.body
        write_atomically(path, gzip.compress(content, compresslevel=6, mtime=0))
        self._sweep()
        return path

    def pending(self) -> list[Path]:
        """Return the files of the board's polls in the spool, oldest poll first."""
        return sorted(self.folder.glob(f"[!.]*{SUFFIX}"))

    def read(self, path: Path) -> Poll:
        """Return the poll of the board in the spool's file ``path``.

        Raises:
            CorruptPollError: it cannot be read; it was moved from the queue to the ``rejected`` folder.
        """
        try:
            if is_special(path) or (path.is_symlink() and not path.exists()):
                raise ValueError("not a regular file")
            with open_regular(path) as file:
                pieces = iter(lambda: file.read(64 * 1024), b"")
                line, _, body = b"".join(gunzipped(pieces, MAX_POLL_BYTES, None)).partition(b"\n")
            head = json.loads(line)
            modified = head["last_modified"]
            return Poll(
                fetched_at=datetime.fromisoformat(head["fetched_at"]),
                status=int(head["status"]),
                last_modified=datetime.fromisoformat(modified) if modified else None,
                url=str(head["url"]),
                body=body,
                validator=head["validator"],
            )
        except _DAMAGE as error:
            rejected = self.quarantine(path, f"not readable as a poll: {reason_of(error)}")
            raise CorruptPollError(
                f"{path} is damaged ({reason_of(error)}); moved to {rejected}, no action needed"
            ) from error

    def remove(self, path: Path) -> None:
        """Remove a stored poll of the board from the spool."""
        path.unlink(missing_ok=True)
        sync(self.folder)

    def quarantine(self, path: Path, reason: str) -> Path:
        """Move the poll ``path`` from the spool to quarantine, with a note of the ``reason``; the oldest files beyond
        the limit are deleted.

        Returns the new path, also if another process has moved or removed the file meanwhile.
        """
        folder = self.folder / REJECTED_FOLDER
        folder.mkdir(exist_ok=True)
        rejected = folder / path.name
        note = write_reason(rejected, reason)
        try:
            path.replace(rejected)
        except FileNotFoundError:
            if not rejected.exists():
                note.unlink(missing_ok=True)
            return rejected
        sync(self.folder)
        keep_newest(folder)
        return rejected

    def rejected_since(self, moment: float) -> int:
        """Return how many polls of the board in quarantine were fetched after ``moment`` (Unix seconds)."""
        begin = f"{from_epoch(moment):%Y%m%dT%H%M%S}"  # a poll's name begins with its time
        return sum(path.name > begin for path in (self.folder / REJECTED_FOLDER).glob(f"*{SUFFIX}"))

    def _sweep(self) -> None:
        """Remove incomplete files left by killed writers."""
        for temporary in self.folder.glob(f"{TEMPORARY_PREFIX}*"):
            try:
                if time.time() - temporary.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
                    temporary.unlink(missing_ok=True)
            except FileNotFoundError:
                continue
