"""RunPod's REST API v2, which replaces GraphQL in 2027; needs no SDK.

An order is for one GPU type. A status of 400 means that a rule is violated or that nothing is free, and no code tells
which; either way nothing was created. The list of pods is paginated with cursors.
"""

import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from bizcharts_pipeline.pods.errors import (
    NoCapacity,
    NotOffered,
    OrderRefused,
    PodError,
    Uncertain,
)
from bizcharts_pipeline.pods.protocol import Candidate, Order, Pod, Transport
from bizcharts_pipeline.pods.providers.access import access
from bizcharts_pipeline.pods.providers.answers import pod_of, pods_of, price_of
from bizcharts_pipeline.pods.providers.orders import (
    SSH_PORTS,
    WORKSPACE,
    check_id,
    check_order,
    without_values,
)
from bizcharts_pipeline.pods.providers.rest import Busy, RestApi, is_unknown, listed, refused
from bizcharts_pipeline.pods.providers.rest_http import Reply

_PODS = "/v2/pods"
_GPUS = "/v2/catalog/gpus"
_MIN_VOLUME_GB = 10  # smaller ones are refused


class RunPodRest:
    """Pods of the account whose key is in ``RUNPOD_API_KEY``.

    Raises:
        AccessDenied: the key is missing.
        ApiGone: from every method: as :class:`RestApi`.
    """

    name = "runpod"

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        access()
        self._api = RestApi((_PODS, _GPUS), sleep)

    def usd_per_hour(self, candidate: Candidate) -> Decimal | None:
        query = {"include": "AVAILABILITY", "product": "POD", "cloud": candidate.cloud}
        gpus = listed(self._api.ask("GET", _GPUS, query=query), "gpus")
        for gpu in gpus:
            if isinstance(gpu, Mapping) and gpu.get("id") == candidate.gpu:
                return price_of(gpu, candidate.cloud)
        raise NotOffered(f"RunPod has no GPU {candidate.gpu!r}; correct pods.gpus (docs/runpod.md lists ids).")

    def create(self, order: Order) -> Pod:
        check_order(order)
        reply = self._api.ask("POST", _PODS, body=_body(order))
        if reply.status not in (200, 201):
            raise _order_refused(reply, order)
        pod = pod_of(reply.body)
        if pod is None:
            raise Uncertain(f"RunPod's answer to the order of {order.name} has no pod; search for that name first.")
        return pod

    def find(self, prefix: str) -> list[Pod]:
        return pods_of(self._api.every(_PODS, "pods"), prefix)

    def get(self, pod_id: str) -> Pod | None:
        reply = self._api.ask("GET", f"{_PODS}/{check_id(pod_id)}")
        if is_unknown(reply):
            return None
        if reply.status != 200 or reply.body is None:
            raise refused(reply)
        return pod_of(reply.body)

    def terminate(self, pod_id: str) -> bool:
        reply = self._api.ask("DELETE", f"{_PODS}/{check_id(pod_id)}")
        if is_unknown(reply):
            return False
        if reply.status not in (200, 202, 204):
            raise refused(reply)
        if reply.status == 200 and reply.body is None:
            raise Uncertain(f"RunPod's answer to the termination of {pod_id} is not JSON: {reply.detail}")
        return True

    def transport(self, pod: Pod, keys: Path) -> Transport:
        from bizcharts_pipeline.pods.providers.links import rented

        return rented(pod, keys)


def _body(order: Order) -> dict[str, Any]:
    candidate = order.candidate
    gpu: dict[str, Any] = {"id": candidate.gpu, "count": 1}
    if order.cuda:
        gpu["minCudaVersion"] = min(order.cuda, key=_version)
    body: dict[str, Any] = {
        "name": order.name,
        "image": order.image,
        "cloud": candidate.cloud,
        "gpu": gpu,
        "disk": order.container_disk_gb,
        "ports": [SSH_PORTS],
        "env": dict(order.environment),
        "startSsh": True,
    }
    if order.start_command:
        body["args"] = order.start_command
    if candidate.data_center:
        body["dataCenterIds"] = [candidate.data_center]
    if order.network_volume:
        body["mounts"] = {"network": [{"volumeId": order.network_volume, "path": WORKSPACE}]}
    elif order.volume_gb:
        body["mounts"] = {"persistent": {"size": max(order.volume_gb, _MIN_VOLUME_GB), "path": WORKSPACE}}
    return body


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


def _order_refused(reply: Reply, order: Order) -> PodError:
    """Return the error for a refused order; the values of the order's variables are not repeated."""
    refusal = _meaning(reply, order)
    return type(refusal)(without_values(str(refusal), order)) if not isinstance(refusal, Busy) else refusal


def _meaning(reply: Reply, order: Order) -> PodError:
    wanted = f"{order.candidate.gpu}, {order.candidate.cloud}"
    named = isinstance(reply.body, Mapping) and bool(reply.body.get("errors"))
    if reply.status == 400 and reply.body is not None and not named:
        return NoCapacity(f"RunPod has no {wanted}, or the order breaks one of its rules: {reply.detail}")
    if reply.status == 403 and reply.body is not None:
        return NoCapacity(f"RunPod does not offer {wanted} to this key: {reply.detail}")
    if reply.status in (400, 404, 422) and reply.body is not None:
        return OrderRefused(f"RunPod refuses the order of {wanted} ({reply.status}): {reply.detail}")
    return refused(reply)
