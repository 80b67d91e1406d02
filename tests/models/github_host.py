"""GitHub's releases on loopback: the API with its uploads, and the storage host that downloads are redirected to.

It keeps what the real one is known for: drafts have no address by their tag; an upload that breaks off, or that the
server fails on, leaves a stump (state ``starter``) which is in the way of the next; creations fail and have landed.
"""

import hashlib
import json
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs

from bizcharts_pipeline.demo.server import JSON, BoardServer, Fault, Handler, Page, RequestRecord

_BINARY = "application/octet-stream"


class GitHubFault(StrEnum):
    """What can go wrong with one request."""

    SERVER_ERROR = "502"  # nothing was done
    LANDED = "502 landed"  # it was done all the same
    STUMP = "502 stump"  # an upload: half of it arrived
    RESET = "reset"  # the connection is reset before anything was done
    SECONDARY_LIMIT = "403 secondary"  # with a Retry-After
    PRIMARY_LIMIT = "429 primary"  # with the headers of the hourly limit
    TAMPERED = "tampered"  # a download: other bytes of the same number
    TRUNCATED = "truncated"  # a download: half of it


@dataclass
class _Asset:
    number: int
    name: str
    content: bytes
    state: str = "uploaded"


@dataclass
class _Release:
    number: int
    repository: str
    fields: dict[str, Any]
    assets: dict[int, _Asset] = field(default_factory=dict)


class _Answer(Exception):
    def __init__(self, status: int, value: Any = None, *headers: tuple[str, str]) -> None:
        super().__init__(status)
        self.status, self.value, self.headers = status, value, headers


class SimulatedGitHub(BoardServer):
    """The API; a context manager.

    Attributes:
        accepted_token: what writes, and reads private repositories.
        private: whether reading needs it, too.
        retry_after: seconds that the limits ask for.
        upload_pace: seconds between two pieces of an upload that are read; 0: as fast as they come.
        storage: the host that downloads are redirected to.
        tokens: the hosts that were sent a token, ``api`` or ``storage``, with it.
    """

    def __init__(self, *, accepted_token: str = "") -> None:
        super().__init__()
        self._server.RequestHandlerClass = _GitHubHandler
        self.accepted_token = accepted_token
        self.private = False
        self.retry_after = "1"
        self.upload_pace = 0.0
        self.storage = _Storage(self)
        self.tokens: list[tuple[str, str]] = []
        self.receiving = threading.Event()  # some bytes of an upload have come
        self._releases: dict[int, _Release] = {}
        self._script: deque[tuple[str, GitHubFault]] = deque()
        self.instead: dict[str, Any] = {}  # answered to requests whose ``METHOD path?query`` contains the key
        self._last_number = 0

    def __enter__(self) -> "SimulatedGitHub":
        super().__enter__()
        self.storage.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.storage.__exit__(*error)
        super().__exit__(*error)

    def fail_next(self, *faults: Fault | str, on: str = "") -> None:
        """Let the next requests whose ``METHOD path?query`` contains ``on`` meet ``faults`` (:class:`GitHubFault`)."""
        with self._lock:
            self._script.extend((on, GitHubFault(fault)) for fault in faults)

    def releases(self, repository: str) -> list[dict[str, Any]]:
        """Return what a repository has, drafts too."""
        with self._lock:
            return [self._described(each) for each in self._releases.values() if each.repository == repository]

    def forget(self) -> None:
        """Lose all releases."""
        with self._lock:
            self._releases.clear()

    def content(self, asset: int) -> bytes | None:
        """Return the bytes of an asset; ``None``: there is none."""
        with self._lock:
            return next((each.assets[asset].content for each in self._releases.values() if asset in each.assets), None)

    def exchange(self, repository: str, name: str, content: bytes) -> None:
        """Put other bytes in the place of an asset's."""
        with self._lock:
            for release in self._releases.values():
                for asset in release.assets.values():
                    if release.repository == repository and asset.name == name:
                        asset.content = content

    def fault(self, method: str, path: str) -> GitHubFault | None:
        """Take the next fault of the script that means this request."""
        with self._lock:
            for index, (on, fault) in enumerate(self._script):
                if on in f"{method} {path}":
                    del self._script[index]
                    return fault
        return None

    def answer(self, method: str, path: str, query: str, token: str | None, body: bytes, whole: bool) -> _Answer:
        """Do what is asked; ``whole``: the body arrived to its end."""
        fault = self.fault(method, f"{path}?{query}")
        if fault is GitHubFault.RESET:
            return _Answer(0)
        if fault is GitHubFault.SERVER_ERROR:
            return _Answer(502, {"message": "Server Error"})
        if fault is GitHubFault.SECONDARY_LIMIT:
            message = "You have exceeded a secondary rate limit."
            return _Answer(403, {"message": message}, ("Retry-After", str(self.retry_after)))
        if fault is GitHubFault.PRIMARY_LIMIT:
            reset = str(int(time.time()) + int(self.retry_after or 1))
            headers = (("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset))
            return _Answer(429, {"message": "API rate limit exceeded"}, *headers)
        for on, value in self.instead.items():
            if on in f"{method} {path}?{query}":
                return _Answer(200, value)
        stump = fault is GitHubFault.STUMP or not whole
        with self._lock:
            try:
                self._check(method, token)
                answer = self._routed(method, path, query, body[: len(body) // 2] if stump else body, stump)
            except _Answer as refusal:
                return refusal
        return _Answer(502, {"message": "Server Error"}) if fault is GitHubFault.LANDED or stump else answer

    def _check(self, method: str, token: str | None) -> None:
        if token is not None and token != self.accepted_token:
            raise _Answer(401, {"message": "Bad credentials"})
        if token is None and (method != "GET" or self.private):
            raise _Answer(404, {"message": "Not Found"})

    def _routed(self, method: str, path: str, query: str, body: bytes, stump: bool) -> _Answer:
        match method, path.strip("/").split("/"):
            case "GET", ["repos", owner, name, "releases"]:
                every = [each for each in self._releases.values() if each.repository == f"{owner}/{name}"]
                return _Answer(200, _page(list(map(self._described, reversed(every))), query))
            case "POST", ["repos", owner, name, "releases"]:
                return self._create(f"{owner}/{name}", json.loads(body))
            case "GET", ["repos", owner, name, "releases", "tags", tag]:
                for each in self._releases.values():
                    if (each.repository, each.fields["tag_name"], each.fields["draft"]) == (
                        *(f"{owner}/{name}", tag),
                        False,
                    ):
                        return _Answer(200, self._described(each))
            case "PATCH", ["repos", _, _, "releases", number] if int(number) in self._releases:
                release = self._releases[int(number)]
                release.fields |= json.loads(body)
                return _Answer(200, self._described(release))
            case "GET", ["repos", _, _, "releases", number, "assets"] if int(number) in self._releases:
                assets = self._releases[int(number)].assets.values()
                return _Answer(200, _page(list(map(_described_asset, assets)), query))
            case "POST", ["uploads", "repos", _, _, "releases", number, "assets"] if int(number) in self._releases:
                return self._upload(self._releases[int(number)], parse_qs(query)["name"][0], body, stump)
            case "DELETE", ["repos", _, _, "releases", "assets", number]:
                for each in self._releases.values():
                    if each.assets.pop(int(number), None):
                        return _Answer(204)
            case "GET", ["repos", _, _, "releases", "assets", number]:
                if any(int(number) in each.assets for each in self._releases.values()):
                    location = f"{self.storage.url}/{number}?signature=secret"
                    return _Answer(302, None, ("Location", location))
        return _Answer(404, {"message": "Not Found"})

    def _create(self, repository: str, fields: dict[str, Any]) -> _Answer:
        release = _Release(self._number(), repository, {"draft": False, "prerelease": False, **fields})
        self._releases[release.number] = release
        return _Answer(201, self._described(release))

    def _upload(self, release: _Release, name: str, content: bytes, stump: bool) -> _Answer:
        if any(asset.name == name for asset in release.assets.values()):
            errors = [{"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}]
            return _Answer(422, {"message": "Validation Failed", "errors": errors})
        asset = _Asset(self._number(), name, content, "starter" if stump else "uploaded")
        release.assets[asset.number] = asset
        return _Answer(201, _described_asset(asset))

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _described(self, release: _Release) -> dict[str, Any]:
        assets = [asset for asset in release.assets.values() if asset.state == "uploaded"]
        at = f"/repos/{release.repository}/releases/{release.number}"
        page = f"{self.url}/{release.repository}/releases/"
        draft = release.fields["draft"]
        return {
            "id": release.number,
            "html_url": page + (f"untagged-{release.number}" if draft else f"tag/{release.fields['tag_name']}"),
            "upload_url": f"{self.url}/uploads{at}/assets{{?name,label}}",
            "assets": list(map(_described_asset, assets)),
            **release.fields,
        }


class _Storage(BoardServer):
    """Where assets lie; whoever has the signed address may read."""

    def __init__(self, github: SimulatedGitHub) -> None:
        super().__init__()
        self._server.RequestHandlerClass = _StorageHandler
        self.github = github


class _StorageHandler(Handler):
    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        storage = self.server.board_server
        assert isinstance(storage, _Storage)
        github = storage.github
        if sent := self.headers.get("Authorization"):
            github.tokens.append(("storage", sent))
        fault = github.fault("GET", f"storage{path}")
        content = github.content(int(path.strip("/"))) if query else None
        storage.log(RequestRecord(time.monotonic(), "GET", path, query, None, None, 200, None))
        if content is None or fault is GitHubFault.SERVER_ERROR:
            self._answer(502 if fault else 404, Page(b"", _BINARY, status=404))
        elif fault is GitHubFault.TRUNCATED:
            self._fail(Fault.TRUNCATED, Page(content, _BINARY))
        else:
            turned = bytes([content[0] ^ 1]) + content[1:] if fault is GitHubFault.TAMPERED else content
            self._answer(200, Page(turned, _BINARY))


class _GitHubHandler(Handler):
    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        github = self.server.board_server
        assert isinstance(github, SimulatedGitHub)
        sent = self.headers.get("Authorization")
        if sent:
            github.tokens.append(("api", sent))
        body, whole = self._body(github)
        token = re.sub("^(Bearer|token) ", "", sent) if sent else None
        answer = github.answer(self.command, path, query, token, body, whole)
        github.log(RequestRecord(time.monotonic(), self.command, path, query, None, None, answer.status, None))
        if not answer.status or not whole:
            self._fail(Fault.RESET, Page(b""))
            return
        page = Page(b"" if answer.value is None else json.dumps(answer.value).encode(), JSON, status=answer.status)
        if answer.status == 204:
            self.send_response(204)
            self.end_headers()
        else:
            self._answer(answer.status, page, *answer.headers)

    do_POST = do_PATCH = do_DELETE = do_GET

    def _body(self, github: SimulatedGitHub) -> tuple[bytes, bool]:
        """Return what arrives of a body, and whether that is all of it."""
        wanted, body = int(self.headers.get("Content-Length") or 0), bytearray()
        while len(body) < wanted:
            try:
                piece = self.rfile.read1(min(64 * 1024, wanted - len(body)))
            except ConnectionError:
                piece = b""
            if not piece:
                return bytes(body), False
            body += piece
            if "/uploads/" in self.path:
                github.receiving.set()
                self.server.closing.wait(github.upload_pace)
        return bytes(body), True


def _described_asset(asset: _Asset) -> dict[str, Any]:
    whole = asset.state == "uploaded"
    return {
        "id": asset.number,
        "name": asset.name,
        "state": asset.state,
        "size": len(asset.content) if whole else 0,
        "digest": f"sha256:{hashlib.sha256(asset.content).hexdigest()}" if whole else None,
    }


def _page(values: list[Any], query: str) -> list[Any]:
    asked = parse_qs(query)
    size, number = int(asked.get("per_page", ["30"])[0]), int(asked.get("page", ["1"])[0])
    return values[(number - 1) * size : number * size]
