"""Serverless endpoints through RunPod's REST API v2: list, create, scale, delete, and the price of a worker."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bizcharts_pipeline.pods.errors import NotOffered, OrderRefused, PodError, Uncertain
from bizcharts_pipeline.pods.providers.access import access
from bizcharts_pipeline.pods.providers.answers import usd_of
from bizcharts_pipeline.pods.providers.orders import check_id
from bizcharts_pipeline.pods.providers.rest import RestApi, is_unknown, listed, refused
from bizcharts_pipeline.pods.providers.rest_http import Reply
from bizcharts_pipeline.settings import EndpointSettings

_ENDPOINTS = "/v2/serverless"
_GPUS = "/v2/catalog/gpus"
MOST_WORKERS = 1  # a second one that starts and gets no job would be billed, and no answer would tell
_START_VARIABLE = "RUNPOD_INIT_TIMEOUT"  # seconds after which RunPod gives up a worker that starts
QUEUE_DELAY_SECONDS = 0.5  # a waiting job starts a worker after it


class EndpointGone(PodError):
    """RunPod has no such endpoint."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as RunPod describes it."""

    endpoint_id: str
    name: str
    workers_min: int
    workers_max: int


class Control:
    """The endpoints of the account whose key is in ``RUNPOD_API_KEY``.

    Raises:
        AccessDenied: the key is missing.
        ApiGone: from every method: as :class:`RestApi`.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        access()
        self._api = RestApi((_ENDPOINTS, _GPUS), sleep)

    def usd_per_hour(self, pools: tuple[str, ...]) -> Decimal:
        """Return the highest price of a serverless worker with a GPU of ``pools``.

        Raises:
            NotOffered: a pool has no GPU with a price.
        """
        prices: dict[str, list[Decimal]] = {pool: [] for pool in pools}
        for gpu in listed(self._api.ask("GET", _GPUS), "gpus"):
            offered = gpu.get("price") if isinstance(gpu, Mapping) else None
            if isinstance(offered, Mapping) and (price := usd_of(offered.get("serverless"))):
                prices.get(str(gpu.get("pool")), []).append(price)
        if missing := [pool for pool, found in prices.items() if not found]:
            raise NotOffered(
                f"RunPod states no serverless price for {', '.join(missing)}; correct `pools` of [endpoint]."
            )
        return max(price for found in prices.values() for price in found)

    def every(self) -> list[Endpoint]:
        """Return all serverless endpoints of the account at RunPod."""
        return [_endpoint(entry) for entry in self._api.every(_ENDPOINTS, "endpoints")]

    def create(self, name: str, settings: EndpointSettings) -> Endpoint:
        """Create a serverless endpoint without a worker that runs.

        Raises:
            OrderRefused: the order will never be accepted.
            Uncertain: the endpoint may exist.
        """
        body = {
            "name": name,
            "image": settings.image,
            "type": "QUEUE",
            "disk": settings.disk_gb,
            "env": {_START_VARIABLE: str(settings.start_seconds)},
            "gpu": {"pools": list(settings.pools), "count": 1},
            "workers": _workers(MOST_WORKERS, settings.idle_seconds),
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": QUEUE_DELAY_SECONDS},
            "timeout": 1000 * settings.job_seconds,
            "flashboot": "FLASHBOOT",
        }
        reply = self._api.ask("POST", _ENDPOINTS, body=body)
        return _endpoint(_success(reply, (200, 201)))

    def update(self, endpoint_id: str, settings: EndpointSettings) -> None:
        """Give a serverless endpoint the image and the limits of the settings."""
        body = {
            "image": settings.image,
            "env": {_START_VARIABLE: str(settings.start_seconds)},
            "workers": _workers(MOST_WORKERS, settings.idle_seconds),
            "timeout": 1000 * settings.job_seconds,
        }
        _success(self._api.ask("PATCH", f"{_ENDPOINTS}/{check_id(endpoint_id)}", body=body), (200,))

    def scale(self, endpoint_id: str, most: int, idle_seconds: int) -> None:
        """Set the maximum of workers of a serverless endpoint, 0 or 1; none of them is kept without work.

        Raises:
            EndpointGone: there is no such endpoint.
        """
        body = {"workers": _workers(most, idle_seconds)}
        reply = self._api.ask("PATCH", f"{_ENDPOINTS}/{check_id(endpoint_id)}", body=body)
        if is_unknown(reply):
            raise EndpointGone(f"RunPod has no endpoint {endpoint_id}; `bizcharts endpoint delete` ends its record.")
        _success(reply, (200,))

    def delete(self, endpoint_id: str) -> bool:
        """Delete a serverless endpoint; return whether it was there."""
        reply = self._api.ask("DELETE", f"{_ENDPOINTS}/{check_id(endpoint_id)}")
        if is_unknown(reply):
            return False
        _success(reply, (200, 202, 204))
        return True


def _workers(most: int, idle_seconds: int) -> dict[str, int]:
    return {"min": 0, "max": min(most, MOST_WORKERS), "idleTimeout": idle_seconds}


def _success(reply: Reply, statuses: tuple[int, ...]) -> Any:
    if reply.status in statuses:
        return reply.body
    raise _refused(reply)


def _refused(reply: Reply) -> PodError:
    if reply.status in (400, 404, 409, 422) and reply.body is not None:
        return OrderRefused(f"RunPod refuses the request about an endpoint ({reply.status}): {reply.detail}")
    return refused(reply)


def _endpoint(entry: object) -> Endpoint:
    fields = entry if isinstance(entry, Mapping) else {}
    workers = fields.get("workers")
    if not isinstance(fields.get("id"), str) or not isinstance(workers, Mapping):
        raise Uncertain("RunPod's answer does not describe an endpoint; try again later.")
    return Endpoint(
        fields["id"],
        str(fields.get("name") or ""),
        _count(workers.get("min")),
        _count(workers.get("max")),
    )


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Uncertain("RunPod's answer does not say how many workers an endpoint may have; try again later.")
    return value
