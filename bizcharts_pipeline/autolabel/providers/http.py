"""The HTTP client that both SDKs are given: one deadline for a whole exchange, a size cap, and no redirects.

The time-outs of ``httpx2`` count from byte to byte, so a server that drips its answer could hold a thread for ever;
here every wait on the socket has only what is left of the whole. What that does not cover: name resolution.
A redirect is not followed, or the key would travel with it. The proxies of the environment are used
(``HTTPS_PROXY``, ``NO_PROXY``, as both SDKs do by themselves), but never for loopback.
"""

import threading
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore2
import httpx2

from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.core.addresses import PORTS, Origin, origin
from bizcharts_pipeline.settings import is_loopback

CONNECT_SECONDS = 10.0
_PIECE = 64 * 1024
_exchange = threading.local()


class ResponseTooLarge(httpx2.TransportError):
    """An answer of more bytes than any true one has."""


def http_client(url: str, *, seconds: float, wait: float, max_bytes: int, connections: int) -> httpx2.Client:
    """Return a client for the host of ``url``; many threads may share it.

    Args:
        url: address of the service; says whether and which proxy is used.
        seconds: for a whole exchange, from the wait for a connection to the last byte.
        wait: most seconds for any single wait in it.
        max_bytes: longest body of an answer.
        connections: most at once; more requests wait.

    Raises:
        BadAddress: ``url`` is refused.
        AutoLabelError: the environment names a proxy that does not speak HTTP.
    """
    return httpx2.Client(
        transport=_Transport(url, seconds, wait, max_bytes, connections),
        follow_redirects=False,
        trust_env=False,
        timeout=_timeout(wait),
        headers={"Accept-Encoding": "identity"},  # what is not compressed cannot burst
    )


def _timeout(wait: float) -> httpx2.Timeout:
    return httpx2.Timeout(wait, connect=min(CONNECT_SECONDS, wait))


class _Transport(httpx2.BaseTransport):
    """Reads an answer whole, within its bounds. Errors are those of ``httpx2``, which the SDKs know."""

    def __init__(self, url: str, seconds: float, wait: float, max_bytes: int, connections: int) -> None:
        self._origin = origin(url)
        self._seconds = seconds
        self._timeouts = _timeout(wait).as_dict()
        self._max_bytes = max_bytes
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context() if urlsplit(url).scheme == "https" else None,
            proxy=_proxy(url),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=5.0,
            network_backend=_Backend(),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if _connects_to(request.url) != self._origin:  # an answer may name an address, and the key goes along
            raise httpx2.UnsupportedProtocol("the request is for another host than the configured one")
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        stream = request.stream
        assert isinstance(stream, Iterable)
        has_body = "Content-Length" in request.headers or "Transfer-Encoding" in request.headers
        extensions = {**request.extensions, "timeout": self._timeouts}
        _exchange.deadline = time.monotonic() + self._seconds
        try:
            with self._pool.stream(
                request.method,
                url,
                headers=request.headers.raw,
                content=iter(stream) if has_body else None,
                extensions=extensions,
            ) as answer:
                headers = httpx2.Headers(answer.headers)
                # JSON is UTF-8; the SDK would look up any codec of Python that the answer names, as `bz2_codec`.
                if kind := headers.get("Content-Type"):
                    headers["Content-Type"] = kind.partition(";")[0]
                body = self._body(headers, answer)
        except _CORE_ERRORS as error:
            raise _mapped(error) from error
        finally:
            _exchange.deadline = None
        kept = {
            name: answer.extensions[name] for name in ("http_version", "reason_phrase") if name in answer.extensions
        }
        return httpx2.Response(answer.status, headers=headers, content=body, extensions=kept)

    def close(self) -> None:
        self._pool.close()

    def _body(self, headers: httpx2.Headers, answer: httpcore2.Response) -> bytes:
        if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise httpx2.RemoteProtocolError("the answer is compressed, which was not asked for")
        body = bytearray()
        for chunk in answer.iter_stream():
            body += chunk
            if len(body) > self._max_bytes:
                raise ResponseTooLarge(f"the answer has more than {self._max_bytes:,} bytes")
        return bytes(body)


def _connects_to(url: httpx2.URL) -> Origin:
    return Origin(url.scheme, url.raw_host.decode("ascii").lower(), url.port or PORTS[url.scheme])


_CORE_ERRORS = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


def _mapped(error: Exception) -> httpx2.TransportError:
    """Return the error of ``httpx2`` that bears the name of one of ``httpcore2``."""
    kind: type[httpx2.TransportError] = getattr(httpx2, type(error).__name__, httpx2.TransportError)
    return kind(str(error))


def _left(timeout: float | None, expired: type[Exception]) -> float | None:
    """Return how long one wait may last; raise ``expired`` when the exchange's time is over."""
    deadline: float | None = getattr(_exchange, "deadline", None)
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise expired("the time for the whole exchange is over")
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore2.NetworkStream):
    """A connection whose waits end with the exchange of the thread that uses it."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._inner.write(buffer[start : start + _PIECE], _left(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout, httpcore2.ConnectTimeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, left, local_address, socket_options))


def _proxy(url: str) -> httpcore2.Proxy | None:
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    address = proxies.get(parts.scheme) or proxies.get("all")
    if not address:
        return None
    if "://" not in address:
        address = f"http://{address}"
    scheme = urlsplit(address).scheme
    if scheme not in ("http", "https"):
        raise AutoLabelError(f"{parts.scheme.upper()}_PROXY names a {scheme} proxy; only HTTP proxies are supported.")
    proxy = httpx2.Proxy(address)  # splits user and password off
    return httpcore2.Proxy(str(proxy.url), auth=proxy.raw_auth, headers=proxy.headers.raw)
