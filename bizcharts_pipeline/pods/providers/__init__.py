"""Providers of pods: RunPod through either of its APIs, a host of your own, or this machine."""

import time
from collections.abc import Callable

from bizcharts_pipeline.pods.protocol import Provider
from bizcharts_pipeline.settings import Settings


def open_provider(settings: Settings, name: str = "", sleep: Callable[[float], None] = time.sleep) -> Provider:
    """Return the provider of pods called ``name``, or the one in ``settings.pod_provider``; for RunPod, with the API
    in ``settings.pods.api`` as long as it exists.

    ``sleep`` is used when RunPod requests a pause. Key and address are read from the environment at each call
    (``RUNPOD_API_KEY``, ``RUNPOD_API_BASE_URL``).

    Raises:
        AccessDenied: a key, the SDK or the host's name is missing; the message says what to do.
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
