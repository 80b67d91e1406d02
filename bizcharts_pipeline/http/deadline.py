"""Deadline for HTTP requests: aborts a request that takes longer in total.

Socket time-outs restart with every byte, so a server that sends its response slowly could block a run for ever. Here a
timer shuts the socket down, and the waiting read returns at once. Name resolution and the TLS handshake are not
covered: they have only the time-outs of the system and of the connection.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager


class Watchdog:
    """Shuts down the socket last passed to :meth:`watch` at the deadline, and records the time of the last request."""

    def __init__(self) -> None:
        self.expired = False
        self.ends_at = float("inf")  # monotonic clock
        self.sent_at: float | None = None  # monotonic clock; the last one
        self._socket: socket.socket | None = None

    def watch(self, connected: socket.socket | None) -> None:
        """Make ``connected`` the socket of the HTTP request to shut down at the deadline."""
        self._socket = connected
        if self.expired:
            self.expire()

    def expire(self) -> None:
        """Shut the socket of the HTTP request down now."""
        self.expired = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


_current = threading.local()


@contextmanager
def cut_off_after(seconds: float) -> Iterator[Watchdog]:
    """Abort this thread's HTTP requests through a :class:`DeadlineAdapter` after ``seconds``.

    An enclosing block with an earlier deadline takes precedence.
    """
    outer: Watchdog | None = getattr(_current, "watchdog", None)
    seconds = max(0.0, min(seconds, seconds_left()))
    watchdog = Watchdog()
    watchdog.ends_at = time.monotonic() + seconds
    timer = threading.Timer(seconds, watchdog.expire)
    timer.daemon = True
    timer.start()
    _current.watchdog = watchdog
    try:
        yield watchdog
    finally:
        timer.cancel()
        _current.watchdog = outer


def seconds_left() -> float:
    """Return the time left for HTTP requests by the enclosing :func:`cut_off_after` of this thread; infinity without
    one.
    """
    watchdog: Watchdog | None = getattr(_current, "watchdog", None)
    return float("inf") if watchdog is None else watchdog.ends_at - time.monotonic()


def _watch(connected: socket.socket | None) -> None:
    watchdog: Watchdog | None = getattr(_current, "watchdog", None)
    if watchdog is not None:
        watchdog.watch(connected)


class _WatchedConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _watch(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _watch(self.sock)
        super().request(*args, **kwargs)

    def getresponse(self) -> Any:
        watchdog: Watchdog | None = getattr(_current, "watchdog", None)
        if watchdog is not None:
            watchdog.sent_at = time.monotonic()
        return super().getresponse()


class _WatchedHTTPSConnection(_WatchedConnection, HTTPSConnection):
    """The same over TLS: ``super()`` is :class:`HTTPSConnection` here."""


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPSConnection


class DeadlineAdapter(HTTPAdapter):
    """Adapter for ``requests`` whose connections obey :func:`cut_off_after`, also through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_watched_connections(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        _use_watched_connections(manager)
        return manager


def _use_watched_connections(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
