"""Published port of a pod: a TCP proxy on loopback in front of its sshd that can drop, stall and throttle
connections."""

import random
import select
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

_PIECE = 64 * 1024
_POLL_SECONDS = 0.5
_ACCEPT_BACKLOG = 64
_THROTTLED_BUFFER = 32 * 1024  # of a socket: data waiting in a large buffer looks to its sender as if it had arrived


class Break(StrEnum):
    """Way in which a connection breaks."""

    RESET = "reset"
    STALL = "stall"


class PublicPort:
    """A port that is reserved from the start and refuses connections until it is opened.

    For each connection ``fate`` returns how it breaks, and after how many bytes, or ``None``. With
    ``bytes_per_second``, each connection is limited to that rate, both directions together.
    """

    def __init__(self, fate: Callable[[], tuple[Break, int] | None], bytes_per_second: float | None = None) -> None:
        self._fate = fate
        self._bytes_per_second = bytes_per_second
        self._piece = _PIECE if bytes_per_second is None else max(1, min(_PIECE, int(bytes_per_second / 10)))
        self._closed = threading.Event()
        self._socket = socket.socket()
        if bytes_per_second is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _THROTTLED_BUFFER)
        self._socket.bind(("127.0.0.1", 0))  # without listen(), connections are refused
        self.number = int(self._socket.getsockname()[1])

    def open(self, target: int | None) -> None:
        """Forward connections to the simulated pod to the local port ``target``; with ``None``, accept them and send
        nothing."""
        self._socket.listen(_ACCEPT_BACKLOG)
        if target is not None:
            threading.Thread(target=self._serve, args=(target,), daemon=True).start()

    def close(self) -> None:
        """Close every connection to the simulated pod and accept no more."""
        self._closed.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self, target: int) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(client, target), daemon=True).start()

    def _connection(self, client: socket.socket, target: int) -> None:
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", target), timeout=5)
            except OSError:
                return
            with server, suppress(OSError):
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if self._bytes_per_second is not None:
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _THROTTLED_BUFFER)
                self._relay(client, server, self._fate())

    def _relay(self, client: socket.socket, server: socket.socket, fate: tuple[Break, int] | None) -> None:
        other = {client: server, server: client}
        reading = [client, server]
        passed = 0
        while reading and not self._closed.is_set():
            for ready in select.select(reading, [], [], _POLL_SECONDS)[0]:
                piece = ready.recv(self._piece)
                if not piece:
                    reading.remove(ready)
                    other[ready].shutdown(socket.SHUT_WR)
                    continue
                other[ready].sendall(piece)
                passed += len(piece)
                if self._bytes_per_second is not None:
                    self._closed.wait(len(piece) / self._bytes_per_second)
                if fate is not None and passed > fate[1]:
                    self._break(fate[0], client)
                    return

    def _break(self, how: Break, client: socket.socket) -> None:
        if how is Break.STALL:
            self._closed.wait()  # the client must detect this itself
            return
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def drawn_break(how: Break, between: tuple[int, int], chance: random.Random) -> tuple[Break, int]:
    """Return a break of the connection to a simulated pod after a random number of bytes."""
    return how, chance.randint(*between)
