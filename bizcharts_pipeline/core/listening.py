"""HTTP servers of this machine: the socket that they listen at, their address, and the run of one."""

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from bizcharts_pipeline.core.errors import BizchartsError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

SHUTDOWN_SECONDS = 2


class PortTaken(BizchartsError):
    """Another program listens on the port, or the address does not belong to this machine."""


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a TCP socket that listens at ``host`` and ``port`` (0: any free port).

    A request that comes while the server still starts waits, instead of being refused.

    Raises:
        PortTaken: the port cannot be used.
    """
    if not host.strip():  # which the system takes for every address of the machine
        raise PortTaken("No host to listen at is given; give one with --host.")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        another = "host" if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL else "port"
        reason = f"Port {port} of {host} cannot be used: {error.strerror}; give another with --{another}."
        raise PortTaken(reason) from None
    return listener


def http_address(host: str, port: int) -> str:
    """Return the address of a server, without a path; an IPv6 address is put in brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run_server(app: "ASGIApp", listener: socket.socket, *, lifespan: Literal["auto", "off"] = "off") -> None:
    """Serve ``app`` at ``listener`` until Ctrl-C. Requests are not logged: an address may contain a token."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan=lifespan,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
