"""Candidates, orders and time limits of pods."""

from datetime import datetime, timedelta
from itertools import product

from bizcharts_pipeline.pods.protocol import PUBLIC_KEY, Candidate, Order
from bizcharts_pipeline.pods.providers.access import control_url
from bizcharts_pipeline.pods.start_command import guard
from bizcharts_pipeline.settings import PodSettings

TTL = "BIZCHARTS_TTL_SECONDS"
CONTROL_URL = "BIZCHARTS_CONTROL_URL"  # on the pod: control plane for its self-termination, if not the public one
_COLLECTING = timedelta(minutes=10)  # at the end of a pod's time limit, to fetch the result
_COLLECTING_SHARE = 0.1  # of a short time limit


def candidates(settings: PodSettings) -> list[Candidate]:
    """Return the candidates for a pod in order of preference: each GPU in each cloud in each data centre."""
    centers = settings.data_centers or (None,)
    return [Candidate(*ways) for ways in product(settings.gpus, settings.clouds, centers)]


def order(settings: PodSettings, name: str, candidate: Candidate, public_key: str, seconds: float) -> Order:
    """Return the order of a pod that terminates itself after ``seconds``."""
    environment = {PUBLIC_KEY: public_key.strip(), TTL: str(int(seconds))}
    if url := control_url():
        environment[CONTROL_URL] = url
    return Order(
        name=name,
        candidate=candidate,
        image=settings.image,
        container_disk_gb=settings.container_disk_gb,
        volume_gb=settings.volume_gb,
        network_volume=settings.network_volume or None,
        cuda=settings.cuda,
        environment=environment,
        start_command=guard(int(seconds)),
    )


def end_of_training(created_at: datetime, deadline: datetime) -> datetime:
    """Return when a training must end, so that its result can be fetched within the pod's time limit."""
    return deadline - min(_COLLECTING, (deadline - created_at) * _COLLECTING_SHARE)
