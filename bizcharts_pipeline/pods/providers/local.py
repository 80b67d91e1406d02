"""This machine in the part of a pod: for those with a GPU of their own, and to try everything without one."""

from pathlib import Path

from bizcharts_pipeline.pods.protocol import Address
from bizcharts_pipeline.pods.providers.own_host import OwnHost
from bizcharts_pipeline.pods.transport import LocalTransport


def this_machine(home: Path) -> OwnHost:
    """Return this machine as a provider; its jobs lie below ``home``."""
    workspace = home / "pods" / "workspace"
    return OwnHost("local", Address("localhost", 0, ""), lambda: LocalTransport(workspace), "This machine")
