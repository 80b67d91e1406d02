"""A listening socket, so that who opens the address at once is not refused while a server still starts."""

import socket

from bizcharts_pipeline.core.errors import BizchartsError


class PortTaken(BizchartsError):
    """Another program listens on the port, or the address is not this machine's."""


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a TCP socket that listens at ``host`` and ``port``, 0: at any that is free.

    Raises:
        PortTaken: the port cannot be had.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise PortTaken(f"Port {port} of {host} cannot be used: {error.strerror}; give another with --port.") from None
    return listener
