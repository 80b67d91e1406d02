"""A host of your own with a GPU, reached by ssh with your own key."""

from bizcharts_pipeline.pods.errors import AccessDenied
from bizcharts_pipeline.pods.protocol import Address
from bizcharts_pipeline.pods.providers.own_host import OwnHost
from bizcharts_pipeline.pods.transport import SshTransport
from bizcharts_pipeline.settings import PodSettings


def own_host(settings: PodSettings) -> OwnHost:
    """Return the host ``pods.ssh_host`` as a provider; its host key must be in ``pods.ssh_known_hosts``.

    Raises:
        AccessDenied: the host, the private key or the known-hosts file is missing; the message says what to do.
    """
    if not settings.ssh_host:
        raise AccessDenied("BIZCHARTS_POD_PROVIDER is ssh, but no host is configured: set pods.ssh_host.")
    key, known = settings.ssh_key.expanduser(), settings.ssh_known_hosts.expanduser()
    if not key.is_file():
        raise AccessDenied(f"There is no private key at {key}: correct pods.ssh_key.")
    if not known.is_file():
        raise AccessDenied(
            f"There is no {known}: log in to {settings.ssh_host} once by hand and check its key, or correct "
            "pods.ssh_known_hosts."
        )
    address = Address(settings.ssh_host, settings.ssh_port, settings.ssh_user)
    return OwnHost("ssh", address, lambda: SshTransport(address, key, known), settings.ssh_host)
