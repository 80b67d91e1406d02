"""HTTP client for both SDKs: a deadline for the whole exchange, a size limit, and no redirects.

The time-outs of ``httpx2`` apply to each read, so a server that sends its answer byte by byte could block a thread
indefinitely. Here every wait on the socket is limited to the remaining time of the exchange; name resolution is not
covered. Redirects are not followed, as the key would be sent along. The proxies of the environment are used
(``HTTPS_PROXY``, ``NO_PROXY``, as both SDKs do by default), but never for loopback.
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
    """A response body over the size limit."""


def http_client(url: str, *, seconds: float, wait: float, max_bytes: int, connections: int) -> httpx2.Client:
    """Return the HTTP client of a labelling service's SDK for the host of ``url``; thread-safe.

    Args:
        url: address of the service; determines the proxy.
        seconds: time limit of an exchange, from the wait for a connection to the last byte.
        wait: time limit in seconds of each wait within the exchange.
        max_bytes: size limit of a response body.
        connections: maximum number of connections; further requests wait.

    Raises:
        BadAddress: ``url`` is refused.
        AutoLabelError: the environment names a proxy that does not speak HTTP.
    """
    return httpx2.Client(
        transport=_Transport(url, seconds, wait, max_bytes, connections),
        follow_redirects=False,
        trust_env=False,
        timeout=_timeout(wait),
        headers={"Accept-Encoding": "identity"},  # prevents decompression bombs
    )


def _timeout(wait: float) -> httpx2.Timeout:
    return httpx2.Timeout(wait, connect=min(CONNECT_SECONDS, wait))


class _Transport(httpx2.BaseTransport):
    """Reads a complete response within the limits. Its errors are those of ``httpx2``, which the SDKs handle."""

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
        # A response may contain an address, to which the key would be sent.
        if _connects_to(request.url) != self._origin:
            raise httpx2.UnsupportedProtocol("the request's host is not the configured one")
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
                # JSON is UTF-8. The SDK would load any Python codec named in the header, such as `bz2_codec`.
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
            raise httpx2.RemoteProtocolError("the response is compressed, although the request did not accept that")
        body = bytearray()
        for chunk in answer.iter_stream():
            body += chunk
            if len(body) > self._max_bytes:
                raise ResponseTooLarge(f"the response has more than {self._max_bytes:,} bytes")
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
    """Return the ``httpx2`` error with the same name as the ``httpcore2`` error."""
    kind: type[httpx2.TransportError] = getattr(httpx2, type(error).__name__, httpx2.TransportError)
    return kind(str(error))


def _left(timeout: float | None, expired: type[Exception]) -> float | None:
    """Return the time limit of one wait; raise ``expired`` after the exchange's deadline."""
    deadline: float | None = getattr(_exchange, "deadline", None)
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise expired("total request timeout exceeded")
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore2.NetworkStream):
    """A connection whose waits respect the deadline of the calling thread's exchange."""

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
    proxy = httpx2.Proxy(address)  # splits off user and password
    return httpcore2.Proxy(str(proxy.url), auth=proxy.raw_auth, headers=proxy.headers.raw)
