"""This machine as a pod: for users with their own GPU, and for trials without one."""

from pathlib import Path

from bizcharts_pipeline.pods.protocol import Address
from bizcharts_pipeline.pods.providers.own_host import OwnHost
from bizcharts_pipeline.pods.transport import LocalTransport


def this_machine(home: Path) -> OwnHost:
    """Return this machine as a provider of pods; its jobs are stored below ``home``."""
    workspace = home / "pods" / "workspace"
    return OwnHost("local", Address("localhost", 0, ""), lambda: LocalTransport(workspace), "This machine")
