"""Hostile HTTP answers, generated from a seed: whole answers in bytes, which :class:`HostileHost` sends as they are."""

import gzip
import json
import os
import socket
import socketserver
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from random import Random

Answer = Iterable[bytes]
DATE = "Mon, 02 Mar 2026 11:59:00 GMT"
EMPTY_MEMBER = gzip.compress(b"", mtime=0)
_DRIP_SECONDS = 0.05


def whole(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """An answer with its Content-Length."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", "Connection: close", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def good_catalogue(number: int) -> bytes:
    """A catalogue of one thread of that number."""
    return json.dumps([{"page": 1, "threads": [{"no": number, "time": 1772450000, "com": f"gm {number}"}]}]).encode()


def _thread(rng: Random, **fields: object) -> dict[str, object]:
    return {"no": rng.randrange(1, 10**8), "time": 1772450000, "com": "gm", **fields}


def _catalogue(threads: list[object]) -> bytes:
    return json.dumps([{"page": 1, "threads": threads}]).encode()


def _nested(rng: Random) -> Answer:
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}"), ('[{"threads":', "}]")])
    depth = int(10 ** rng.uniform(2, 6))
    body = opening * depth + (closing * depth if rng.random() < 0.5 else "")
    return [whole(body.encode()[: 6 * 2**20])]


def _nested_in_a_thread(rng: Random) -> Answer:
    depth = int(10 ** rng.uniform(1, 4.5))
    thread = json.dumps(_thread(rng))[:-1] + ',"odd":' + "[" * depth + "]" * depth + "}"
    return [whole(f'[{{"page":1,"threads":[{thread}]}}]'.encode())]


def _huge_numbers(rng: Random) -> Answer:
    digits = "9" * int(10 ** rng.uniform(1, 6))
    number = rng.choice([digits, f"-{digits}", f"{digits}.5", f"1e{digits[:6]}", f"0.{digits}"])
    name = rng.choice(["no", "time", "replies", "tim", "fsize", "odd", "sticky"])
    return [whole(f'[{{"page":1,"threads":[{{"no":5,"time":1772450000,"{name}":{number}}}]}}]'.encode())]


def _many_threads(rng: Random) -> Answer:
    count = rng.choice([1_001, 20_000, 60_000])
    threads = ",".join(f'{{"no":{number},"time":1772450000}}' for number in range(1, count + 1))
    return [whole(f'[{{"page":1,"threads":[{threads}]}}]'.encode())]


def _many_items(rng: Random) -> Answer:
    item = rng.choice(["[]", "{}", '{"":{}}', '{"threads":[]}', "1", '"a"'])
    return [whole(f"[{','.join([item] * (rng.randrange(1, 5) * 10**6 // len(item)))}]".encode())]


def _wrong_types(rng: Random) -> Answer:
    odd = [None, True, "", "x", -1, 1.5, [], {}, [[]], {"a": 1}, "\ud800", "\x00", 2**70]
    names = ["no", "time", "sub", "com", "replies", "images", "tim", "ext", "md5", "filename", "w", "sticky", "capcode"]
    threads: list[object] = [
        rng.choice(odd) if rng.random() < 0.2 else _thread(rng, **{name: rng.choice(odd) for name in names})
        for _ in range(rng.randrange(1, 150))
    ]
    body = rng.choice([_catalogue(threads), json.dumps(rng.choice(odd)).encode(), _catalogue([threads])])
    return [whole(body)]


def _long_texts(rng: Random) -> Answer:
    unit = rng.choice(
        ["<", "&#", "&amp;", ">>", "<b>", "$", "$BTC ", "http://", "a.", " \n", "((", "\u202e", "🚀", "[/"]
    )
    length = int(10 ** rng.uniform(4, 6.3))
    name = rng.choice(["com", "sub", "filename", "odd"])
    return [whole(_catalogue([_thread(rng, **{name: (unit * length)[:length]})]))]


def _gzip_bomb(rng: Random) -> Answer:
    compressor = zlib.compressobj(9, wbits=31)
    unit = bytes(2**20) if rng.random() < 0.5 else b"[" * 2**20
    body = b"".join(compressor.compress(unit) for _ in range(rng.choice([2, 64, 256]))) + compressor.flush()
    return [whole(body, "Content-Encoding: gzip")]


def _empty_members(rng: Random) -> Answer:
    body = EMPTY_MEMBER * rng.choice([17, 5_000, 200_000])
    tail = gzip.compress(good_catalogue(1)) if rng.random() < 0.5 else b""
    return [whole(body + tail, "Content-Encoding: gzip")]


def _encodings(rng: Random) -> Answer:
    body = gzip.compress(good_catalogue(3))
    name = rng.choice(
        ["gzip, gzip", "br", "zstd", "deflate", "compress", "gzip;q=1", "GZIP ", "\x01", "identity, gzip"]
    )
    return [whole(gzip.compress(body) if name == "gzip, gzip" else body, f"Content-Encoding: {name}")]


def _truncated(rng: Random) -> Answer:
    body = gzip.compress(good_catalogue(4)) if rng.random() < 0.5 else good_catalogue(4)
    cut = body[: rng.randrange(len(body))]
    return [whole(cut, "Content-Encoding: gzip", length=rng.choice([len(cut), len(body), 10**17, 0]))]


def _damaged(rng: Random) -> Answer:
    body = bytearray(gzip.compress(good_catalogue(4)))
    for _ in range(3):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return [whole(bytes(body), "Content-Encoding: gzip")]


def _endless_chunks(rng: Random) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    size = rng.choice([1_000, 65_536, 2**20])
    piece = f"{size:x}\r\n".encode() + b"[" * size + b"\r\n"
    while True:
        yield piece


def _endless_line(rng: Random) -> Iterator[bytes]:
    yield rng.choice(
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"HTTP/1.1 200 OK\r\nX: ",
            b"HTTP/1.1 ",
            b"",
        ]
    )
    while True:
        yield b"1" * 65_536


def _endless_headers(rng: Random) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n" if rng.random() < 0.5 else b""
    line = rng.choice([b"X: y\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"Set-Cookie: a=b\r\n"])
    while True:
        yield line * 1_000


def _odd_chunks(rng: Random) -> Answer:
    size = rng.choice(["ffffffffffffffff", "-1", "zz", "", "1;x=y", "00000000000000000001", "0x5", "5 "])
    return [f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n[]\r\n0\r\n\r\n".encode()]


def _slow(rng: Random) -> Iterator[bytes]:
    for byte in whole(good_catalogue(5) + b" " * 10_000)[rng.choice([0, 20]) :]:
        time.sleep(_DRIP_SECONDS)
        yield bytes([byte])


def _garbage(rng: Random) -> Answer:
    body = rng.randbytes(rng.choice([0, 1, 100, 300_000]))
    return [
        rng.choice([whole(body), body, whole(b"<html>" + body), whole(b"\xef\xbb\xbf[]"), whole(b"\xff\xfe[\x00]\x00")])
    ]


def _statuses(rng: Random) -> Answer:
    status = rng.choice(
        ["304 Not Modified", "429 Slow", "503 Busy", "500 Oops", "403 No", "204 None", "206 Part", "999 ?"]
    )
    odd = rng.choice(["Retry-After: 0", "Retry-After: -5", "Retry-After: nan", "Retry-After: 1e9", f"Date: {'9' * 50}"])
    return [whole(b"[]", odd, f"Last-Modified: {'x' * rng.randrange(60_000)}", status=status)]


def _redirects(rng: Random) -> Answer:
    targets = [
        *(
            "http://elsewhere.example\\@127.0.0.1/x",
            "http://:canary-1f0c@127.0.0.1/",
            "//127.0.0.1\t.example/",
            "http://[",
        ),
        *("http://127.0.0.1:0/", "http://127.0.0.1:99999999/", "file:///etc/passwd", "/\\elsewhere.example", "", "%00"),
        *("http://elsewhere.example/" + "a" * 60_000, "?" + "&" * 60_000, "http://127.1/", "http://0/", "#", "x" * 10),
    ]
    return [whole(b"[]", f"Location: {rng.choice(targets)}", status=f"{rng.choice([301, 302, 303, 307, 308])} Moved")]


KINDS: tuple[Callable[[Random], Answer], ...] = (
    *(_nested, _nested_in_a_thread, _huge_numbers, _many_threads, _many_items, _wrong_types, _long_texts, _gzip_bomb),
    *(_empty_members, _encodings, _truncated, _damaged, _endless_chunks, _endless_line, _endless_headers, _odd_chunks),
    *(_slow, _garbage, _statuses, _redirects),
)


def answer(seed: int, number: int) -> Answer:
    """Return the hostile answer of that number; each kind comes once in ``len(KINDS)``."""
    return KINDS[number % len(KINDS)](Random(f"{seed}-{number}"))


class HostileHost:
    """Serves on loopback, whatever the request: under ``/<number>/`` the hostile answer of that number, under
    ``/good/<number>/`` a catalogue with one thread of that number. A context manager."""

    def __init__(self, seed: int) -> None:
        host = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                host.serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._seed = seed
        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with suppress(OSError, ValueError, IndexError):
            request = b""
            while b"\r\n\r\n" not in request and (piece := connection.recv(65_536)):
                request += piece
            parts = request.split(b" ")[1].decode().split("/")
            if parts[1] == "good":
                connection.sendall(whole(good_catalogue(int(parts[2])), f"Last-Modified: {DATE}"))
                return
            for piece in answer(self._seed, int(parts[1])):
                connection.sendall(piece)

    def __enter__(self) -> "HostileHost":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


if __name__ == "__main__":  # what one answer looks like: python hostile_bodies.py SEED NUMBER
    import sys

    for part in answer(int(sys.argv[1]), int(sys.argv[2])):
        os.write(1, part)
