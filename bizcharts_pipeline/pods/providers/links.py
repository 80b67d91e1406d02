"""Connection to a rented pod: ssh with the pod's ephemeral key and the host key pinned at the first login."""

from pathlib import Path

from bizcharts_pipeline.pods.errors import LinkLost
from bizcharts_pipeline.pods.protocol import Pod, Transport


def rented(pod: Pod, keys: Path) -> Transport:
    """Return the transport to a rented pod.

    Raises:
        LinkLost: it has no public port yet.
    """
    from bizcharts_pipeline.pods.transport import SshTransport

    if pod.address is None:
        raise LinkLost(f"{pod.name} has no public port yet; try again later.")
    return SshTransport(pod.address, keys, None)
