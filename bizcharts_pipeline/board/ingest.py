"""Ingestion of live polls: fetch the catalogue, spool it to disk, record it in the warehouse."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.board.client import FourchanClient, parse_catalog
from bizcharts_pipeline.board.spool import Poll, Spool
from bizcharts_pipeline.core.attempts import Attempt, SetAside
from bizcharts_pipeline.core.clock import MAX_DISAGREEMENT, MAX_SKEW, SLACK, ClockDisagrees, check_against
from bizcharts_pipeline.core.rows import PreparedThread
from bizcharts_pipeline.http.errors import CatalogFormatError, CorruptPollError, SourceError
from bizcharts_pipeline.http.fields import bounded
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.errors import DatabaseError, StatementRefused, UnknownCatalog
from bizcharts_pipeline.warehouse.snapshots import PollResult, last_poll, record_poll


@dataclass(frozen=True)
class PollReport:
    """Result of one poll, including earlier polls left in the spool."""

    snapshot_at: datetime
    result: PollResult
    recovered_polls: int  # polls of earlier, interrupted runs that were stored first
    problems: tuple[str, ...]  # invalid entries of the catalogue
    last_modified: datetime | None
    set_aside: tuple[str, ...] = ()  # earlier polls that crashed their readers


@dataclass(frozen=True)
class Drained:
    """Result of processing the polls that earlier runs had left in the spool."""

    recovered: int = 0  # stored
    set_aside: tuple[str, ...] = ()  # crashed their readers


def poll_catalog(client: FourchanClient, spool: Spool, database: Database, now: datetime) -> PollReport:
    """Fetch the board's catalogue once and store it in the warehouse.

    The body is on disk before the source's validator is remembered and before the database is opened, so a kill or a
    busy database delays a snapshot and never loses one.

    Raises:
        SourceError: the source sent no usable response; earlier polls in the spool were stored nevertheless.
        ClockDisagrees: the source's time differs from ``now``, or it sends none and the last poll is more than a day
            away; nothing was stored.
        CatalogFormatError: the response is not a catalogue; its body is kept in the spool's ``rejected`` folder.
        DatabaseBusy: another process holds the database; the poll stays in the spool for the next run.
    """
    # Fetched first, so that no poll is missed even if the database stays locked for hours.
    try:
        path, poll = _fetch(client, spool, database, now)
    except SourceError:
        drain_spool(client, spool, database)
        raise
    if poll.served_at is not None:
        _quarantine_future(spool, poll.fetched_at)
    drained = drain_spool(client, spool, database, before=path)
    try:
        return _attempt(client, spool, database, path, poll, drained)
    except UnknownCatalog:
        # "Not modified" since a catalogue unknown to this database: it is new, or an older one was restored.
        client.forget()
        spool.remove(path)
        path, poll = _fetch(client, spool, database, now)
        return _attempt(client, spool, database, path, poll, drained)


def _fetch(client: FourchanClient, spool: Spool, database: Database, now: datetime) -> tuple[Path, Poll]:
    poll = client.poll_catalog(now)
    if poll.served_at is not None:
        check_against(poll.fetched_at, poll.served_at, client.catalog_url)
    else:
        _check_undated(database, poll)
    path = spool.put(poll)
    client.remember(poll)
    return path, poll


def _check_undated(database: Database, poll: Poll) -> None:
    """Compare the clock with other known times; a poll without a Date must not seem to confirm a wrong clock.

    Raises:
        ClockDisagrees: neither the catalogue's Last-Modified nor the last poll is within a day.
    """
    now = poll.fetched_at
    if poll.last_modified is not None and abs(now - poll.last_modified) <= MAX_DISAGREEMENT:
        return
    with database.read() as connection:
        last = last_poll(connection)
    if last is not None and abs(now - last) > MAX_DISAGREEMENT:
        raise ClockDisagrees(
            f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC, but the last poll was on {last:%Y-%m-%d %H:%M}, and "
            "the board's response has no Date that could confirm it. Nothing was written."
        )


def drain_spool(client: FourchanClient, spool: Spool, database: Database, *, before: Path | None = None) -> Drained:
    """Store the polls of the board that earlier runs fetched and could not store, oldest first.

    A poll that repeatedly crashed the process reading it is moved to the spool's ``rejected`` folder, so that it does
    not prevent all later runs from storing their own poll.
    """
    recovered, set_aside = 0, list[str]()
    for path in spool.pending():
        if path == before:
            break
        try:
            _attempt(client, spool, database, path, None, Drained())
        except SetAside as error:
            client.forget()
            set_aside.append(f"{error}, and move {spool.quarantine(path, str(error))} back to {spool.folder}")
            continue
        except UnknownCatalog:
            spool.remove(path)  # it has no content to store
            continue
        except (CatalogFormatError, CorruptPollError) as error:  # quarantined by now
            set_aside.append(str(error))
            continue
        except FileNotFoundError:
            continue  # stored by another process
        recovered += 1
    return Drained(recovered, tuple(set_aside))


def _attempt(
    client: FourchanClient, spool: Spool, database: Database, path: Path, poll: Poll | None, drained: Drained
) -> PollReport:
    """Store one spooled poll, read from its file unless it is given; kills meanwhile are counted.

    Raises:
        SetAside: too many processes were killed over it.
        CorruptPollError: it was fetched under a wrong clock, and is quarantined.
    """
    with spool.attempts.attempt(f"poll {path.name}") as attempt:
        if poll is None:
            poll = spool.read(path)
            if poll.last_modified and poll.last_modified - poll.fetched_at > MAX_SKEW:
                reason = "fetched under a clock that was behind its source's"
                raise CorruptPollError(f"{spool.quarantine(path, reason)}: {reason}")
        return _store(client, spool, database, path, poll, drained, attempt)


def _quarantine_future(spool: Spool, now: datetime) -> None:
    """Quarantine polls fetched under a clock ahead of ``now``, which the source has just confirmed."""
    begin = f"{now + MAX_SKEW:%Y%m%dT%H%M%S}"  # a poll's name begins with its time
    for path in spool.pending():
        if path.name > begin:
            spool.quarantine(path, "fetched under a clock that was ahead")


def _store(
    client: FourchanClient,
    spool: Spool,
    database: Database,
    path: Path,
    poll: Poll,
    drained: Drained,
    attempt: Attempt,
) -> PollReport:
    """Parse one spooled poll, record it and remove it from the spool.

    A body that cannot be parsed, completely or in part, is quarantined with the reason.
    """
    try:
        threads, problems, rejected = _read(client, poll)
        with attempt.waiting_for(database.write) as connection:
            result = record_poll(
                connection,
                snapshot_at=poll.fetched_at,
                last_modified=poll.last_modified,
                threads=threads,
                rejected=rejected,
                ingested_at=poll.fetched_at,
            )
    except Exception as error:
        if isinstance(error, DatabaseError | OSError) and not isinstance(error, StatementRefused):
            raise  # the fault is the database's: keep the poll in the spool
        # Quarantine the poll after any error: otherwise it would stop all later runs.
        client.forget()
        kept = spool.quarantine(path, f"{type(error).__name__}: {error}")
        raise CatalogFormatError(f"{error}. The body is kept in {kept}") from error
    if rejected:
        spool.quarantine(path, "\n".join(problems))
    else:
        spool.remove(path)
    return PollReport(
        poll.fetched_at, result, drained.recovered, problems, poll.last_modified, set_aside=drained.set_aside
    )


def _read(client: FourchanClient, poll: Poll) -> tuple[list[PreparedThread] | None, tuple[str, ...], int]:
    """Return the threads (``None`` for "not modified"), their problems, and the number of rejected entries.

    Threads dated after the poll are rejected: a post's time stays, and the index of that hour would wait for it.
    """
    if poll.status == 304:
        return None, (), 0
    catalog = parse_catalog(poll.body, board=client.board, image_url=client.image_url)
    served = max(filter(None, (poll.fetched_at, poll.served_at, poll.last_modified)))
    latest = min(served, poll.fetched_at + MAX_SKEW) + SLACK
    threads = [thread for thread in catalog.threads if thread.posted_at <= latest]
    future = [
        f"thread {thread.thread_id}: dated {thread.posted_at:%Y-%m-%d %H:%M}, after the poll"
        for thread in catalog.threads
        if thread.posted_at > latest
    ]
    problems = (*catalog.problems, *bounded(future))
    return [read_thread(thread) for thread in threads], problems, catalog.rejected + len(future)
