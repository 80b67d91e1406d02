"""One pass over the waiting pictures: fetch, validate, decode, store, record. An unusable picture affects no other."""

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from bizcharts_pipeline.core.attempts import Attempts, SetAside
from bizcharts_pipeline.core.progress import Track, silently
from bizcharts_pipeline.core.rows import Source
from bizcharts_pipeline.http.errors import (
    HostPaused,
    ResponseTooLarge,
    SourceBlocked,
    SourceError,
    SourceNotFound,
)
from bizcharts_pipeline.images.client import ImageClient
from bizcharts_pipeline.images.decode import Decoded, Decoder
from bizcharts_pipeline.images.fates import FateReport, purge_deleted
from bizcharts_pipeline.images.first_frame import first_frame
from bizcharts_pipeline.images.store import PictureStore
from bizcharts_pipeline.images.structure import MediaType, PictureRejected, examine
from bizcharts_pipeline.labels.ledger import ledger_threads
from bizcharts_pipeline.settings import ImageSettings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.pictures import (
    PictureRow,
    WaitingPicture,
    block_reason,
    record_picture,
    waiting_pictures,
)

FAILURES_IN_A_ROW = 3  # consecutive; then the host is skipped until the next run
YOUNG = timedelta(minutes=15)  # the host may not have the pictures of such a new thread yet
_PICTURE_FILES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp"})
_NAMED_STATES = frozenset({"foreign", "rejected", "blocked", "failed"})


@dataclass(frozen=True)
class FetchReport:
    """Result of one pass.

    ``warnings`` concern the whole pass, as a host that is skipped. ``problems`` has a message for each unusable
    picture, with its thread and the reason.
    """

    counts: dict[str, int]  # pictures by their new status
    fates: FateReport
    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    more_waiting: bool


@dataclass(frozen=True)
class _Fetched:
    """A picture that may be stored, unless it is on the block list."""

    content: bytes
    sha256: str
    md5: str
    media_type: MediaType
    decoded: Decoded


def fetch_pictures(
    database: Database,
    home: Path,
    client: ImageClient,
    settings: ImageSettings,
    now: datetime,
    *,
    track: Track = silently,
) -> FetchReport:
    """Purge pictures deleted by the board, then process at most ``settings.per_run`` waiting pictures.

    Each is recorded as soon as its status is known, so a killed pass is resumed by the next.

    Raises:
        DatabaseError: the database cannot be used.
        DecoderUnavailable: the decoder process does not start.
        LedgerError: full pictures are configured, and the label ledger cannot be read.
        StoreUnavailable: a picture's file cannot be written.
    """
    fates = purge_deleted(database, home, client, now)
    waiting = _waiting(database, home, client, settings, now)
    counts: Counter[str] = Counter()
    problems = []
    with Decoder(settings.max_pixels) as decoder:
        work = _Pass(database, PictureStore(home), client, decoder, settings, now, Attempts.of_home(home))
        for picture in track(waiting, "Pictures", len(waiting)):
            if row := work.process(picture):
                counts[row.status] += 1
                if row.status in _NAMED_STATES:
                    problems.append(f"thread {row.thread_id} ({row.kind}): {row.status}: {row.reason}")
    warnings = [fates.problem] if fates.problem else []
    if decoder.nsfw_problem:
        warnings.append(f"pictures cannot be rated and stay blurred: {decoder.nsfw_problem}")
    warnings += [f"{client.image_urls[source]} is skipped for now: {why}" for source, why in work.given_up.items()]
    return FetchReport(dict(counts), fates, tuple(warnings), tuple(problems), len(waiting) == settings.per_run)


@dataclass
class _Pass:
    """Dependencies of one pass, and the hosts that it skips."""

    database: Database
    store: PictureStore
    client: ImageClient
    decoder: Decoder
    settings: ImageSettings
    now: datetime
    attempts: Attempts
    silent: Counter[Source] = field(default_factory=Counter)  # consecutive failures by host
    given_up: dict[Source, str] = field(default_factory=dict)  # skipped hosts with the reason

    def process(self, picture: WaitingPicture) -> PictureRow | None:
        """Process a picture and record its status; ``None`` if its host is skipped."""
        source = self.client.source_of(picture.url or "")
        row = PictureRow(picture.thread_id, picture.kind, "", self.now, source=source, attempts=picture.attempts)
        fetched = None
        if known := _known_without_fetching(picture, source, self.settings):
            row = replace(row, status=known[0], reason=known[1])
        elif source is None or source in self.given_up:
            return None
        else:
            try:
                status, reason, fetched = self._ask(picture, source)
            except HostPaused as paused:  # nothing was sent
                self.given_up[source] = str(paused)
                return None
            row = replace(row, status=status, reason=reason, attempts=picture.attempts + 1)
        with self.database.write() as connection:
            if fetched:
                row = self._kept(connection, row, picture, fetched)
            record_picture(connection, row)
        return row

    def _ask(self, picture: WaitingPicture, source: Source) -> tuple[str, str | None, _Fetched | None]:
        """Return the status of a picture with its reason, and the picture if it may be stored.

        Raises:
            HostPaused: the host requested a pause, so nothing was sent.
        """
        try:
            fetched = self._fetch(picture)
        except (PictureRejected, SetAside) as rejected:
            self.silent[source] = 0
            return "rejected", str(rejected), None
        except ResponseTooLarge:
            return "rejected", f"too large: more than {self.settings.max_bytes:,} bytes", None
        except SourceNotFound:
            self.silent[source] = 0
            if self.now - picture.posted_at < YOUNG:
                return "failed", "the host does not have it yet", None
            return "missing", "the host no longer has it", None
        except HostPaused:
            raise
        except SourceError as error:
            self.silent[source] += 1
            if isinstance(error, SourceBlocked) or self.silent[source] == FAILURES_IN_A_ROW:
                self.given_up[source] = str(error)
            return "failed", str(error), None
        self.silent[source] = 0
        return "stored", None, fetched

    def _fetch(self, picture: WaitingPicture) -> _Fetched:
        assert picture.url
        most = self.settings.max_bytes
        answer = self.client.picture(picture.url, max_bytes=most)
        if "html" in answer.headers.get("content-type", "").lower():
            raise SourceError(f"{picture.url}: an HTML page instead of a picture, as from a bot check")
        content = answer.body
        self.decoder.start()  # takes a second, during which a kill is not the picture's fault
        with self.attempts.attempt(f"picture {picture.url}"):
            outline = examine(content, max_bytes=most, max_pixels=self.settings.max_pixels)
            md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
            # The board publishes only the full picture's MD5.
            if picture.kind == "full" and picture.md5 is not None and picture.md5 != md5:
                raise PictureRejected(f"its MD5 is {md5}, the board states {picture.md5}")
            content = first_frame(content, outline.media_type)
            decoded = self.decoder.decode(content, outline)
        return _Fetched(content, hashlib.sha256(content).hexdigest(), md5, outline.media_type, decoded)

    def _kept(
        self, connection: duckdb.DuckDBPyConnection, row: PictureRow, picture: WaitingPicture, fetched: _Fetched
    ) -> PictureRow:
        """Store the file of a picture, unless it is on the block list; return its row."""
        decoded = fetched.decoded
        row = replace(
            row,
            sha256=fetched.sha256,
            width=decoded.width,
            height=decoded.height,
            bytes=len(fetched.content),
            media_type=fetched.media_type,
            perceptual_hash=decoded.perceptual_hash,
            nsfw=decoded.nsfw,
        )
        reason = block_reason(
            connection,
            sha256=fetched.sha256,
            md5s=[md5 for md5 in (fetched.md5, picture.md5) if md5],
            perceptual_hash=decoded.perceptual_hash,
        )
        if reason is not None:
            return replace(row, status="blocked", reason=reason)
        return replace(row, path=self.store.put(fetched.sha256, fetched.media_type, fetched.content))


def _waiting(
    database: Database, home: Path, client: ImageClient, settings: ImageSettings, now: datetime
) -> list[WaitingPicture]:
    found: list[WaitingPicture] = []
    full = settings.full == "labelled"
    labelled = ledger_threads(home, skipped=False) if full else []
    with database.read() as connection:
        for kind in ("thumbnail", "full") if full else ("thumbnail",):
            found += waiting_pictures(
                connection,
                kind,
                live=settings.live,
                archive=settings.archive,
                live_url=client.image_urls["live"],
                archive_url=client.image_urls["warosu"],
                now=now,
                limit=settings.per_run - len(found),
                labelled=labelled,
            )
    return found


def _known_without_fetching(
    picture: WaitingPicture, source: Source | None, settings: ImageSettings
) -> tuple[str, str | None] | None:
    """Return the status and reason of a picture that need not be fetched."""
    if picture.file_deleted:
        return "deleted", None
    if picture.blocked:
        return "blocked", "its MD5 is on the block list"
    if picture.spoiler:
        return "spoiler", None
    if picture.url is None or source is None:
        return "foreign", f"not on the configured image hosts: {(picture.url or '')[:100]!r}"
    extension = Path(urlsplit(picture.url).path).suffix.lower()
    if extension not in _PICTURE_FILES:
        return "rejected", f"not an image: {extension[:20]!r}"
    if picture.kind == "full":
        if (picture.declared_bytes or 0) > settings.max_bytes:
            return "rejected", f"too large: {picture.declared_bytes:,} bytes, {settings.max_bytes:,} allowed"
        pixels = (picture.declared_width or 0) * (picture.declared_height or 0)
        if pixels > settings.max_pixels:
            return "rejected", f"too many pixels: {pixels:,}, {settings.max_pixels:,} allowed"
    return None
