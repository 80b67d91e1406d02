"""Who rents out pods: RunPod in either of its dialects, a host of the user's, or this machine."""

import time
from collections.abc import Callable

from bizcharts_pipeline.pods.protocol import Provider
from bizcharts_pipeline.settings import Settings


def open_provider(settings: Settings, name: str = "", sleep: Callable[[float], None] = time.sleep) -> Provider:
    """Return the provider of this name, or the one that ``settings.pod_provider`` names; for RunPod, in the dialect
    ``settings.pods.api`` as long as RunPod has it.

    ``sleep`` waits where RunPod asks for that. Its key and address come from the environment (``RUNPOD_API_KEY``,
    ``RUNPOD_API_BASE_URL``), at each call.

    Raises:
        AccessDenied: a key, the SDK or the host's name is missing; says what to do.
    """
    name = name or settings.pod_provider
    if name == "local":
        from bizcharts_pipeline.pods.providers.local import this_machine

        return this_machine(settings.home_path)
    if name == "ssh":
        from bizcharts_pipeline.pods.providers.ssh import own_host

        return own_host(settings.pods)
    from bizcharts_pipeline.pods.providers.runpod import RunPod

    return RunPod(settings.pods.api, sleep)
