"""A proxy between DuckLake and PostgreSQL that breaks a connection after the server has made a commit of the lake, and
before it has said so."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread

_QUERY, _CHANGES, _COMMIT = b"Q", b'"public".ducklake_snapshot_changes', b"COMMIT"


@dataclass
class CutCommits:
    """Listens on loopback; breaks the connection of the commit number ``cut`` (from 1), and counts ``commits``."""

    server_port: int
    cut: int = 0
    commits: int = 0
    listening: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    def serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self.listening.accept()
                server = socket.create_connection(("127.0.0.1", self.server_port))
                Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        changes = is_last = False
        with client, server, suppress(OSError):
            while True:
                for end in select.select([client, server], [], [])[0]:
                    if not (content := end.recv(1 << 16)):
                        return
                    if end is server:
                        if is_last and _COMMIT in content:
                            return
                        client.sendall(content)
                        continue
                    changes = changes or _CHANGES in content
                    if changes and content[:1] == _QUERY and _COMMIT in content[:16]:
                        self.commits += 1
                        is_last, changes = self.commits == self.cut, False
                    server.sendall(content)


@contextmanager
def cutting(server_port: int) -> Iterator[CutCommits]:
    """Run a proxy to PostgreSQL at ``server_port`` of loopback."""
    proxy = CutCommits(server_port)
    Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.listening.close()
