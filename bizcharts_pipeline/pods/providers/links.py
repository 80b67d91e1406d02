"""The way to a rented pod: ssh with its own ephemeral key, to the host that answered first."""

from pathlib import Path

from bizcharts_pipeline.pods.errors import LinkLost
from bizcharts_pipeline.pods.protocol import Pod, Transport


def rented(pod: Pod, keys: Path) -> Transport:
    """Return the way to a rented pod.

    Raises:
        LinkLost: it has no public port yet.
    """
    from bizcharts_pipeline.pods.transport import SshTransport

    if pod.address is None:
        raise LinkLost(f"{pod.name} has no public port yet; ask for it again.")
    return SshTransport(pod.address, keys, None)
