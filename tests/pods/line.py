"""A line to a loopback port that can be slow, fall silent, or break off: what lies between us and a pod."""

import socket
import struct
import threading
from types import TracebackType
from typing import Self

_PIECE = 65_536


class Line:
    """Forwards connections to ``port`` of this machine from a port of its own."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._passed = 0
        self._silent_after: int | None = None
        self._reset_after: int | None = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent_after(self, passed: int) -> None:
        """Pass nothing on once so many more bytes have passed; connections stay open."""
        with self._lock:
            self._passed, self._silent_after = 0, passed

    def reset_after(self, passed: int) -> None:
        """Break all connections off when so many more bytes have passed, once."""
        with self._lock:
            self._passed, self._reset_after = 0, passed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._reset()

    @property
    def has_broken(self) -> bool:
        """Whether the break that was asked for has come."""
        return self._reset_after is None

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(_PIECE):
                if self._break_is_due(len(piece)):
                    return self._reset()
                if self._silent_after is None or self._passed <= self._silent_after:
                    sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _break_is_due(self, size: int) -> bool:
        with self._lock:
            self._passed += size
            due = self._reset_after is not None and self._passed > self._reset_after
            if due:
                self._reset_after = None
            return due

    def _reset(self) -> None:
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()
