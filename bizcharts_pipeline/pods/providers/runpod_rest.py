"""RunPod's REST API v2, which takes over from GraphQL in 2027; needs no SDK.

An order is of one GPU type: the API tries no other. A status of 400 means that a rule is broken or that nothing is
free, and no code tells which; either way nothing was created.
"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from bizcharts_pipeline.pods.errors import AccessDenied, NoCapacity, OrderRefused, OutOfFunds, PodError, Uncertain
from bizcharts_pipeline.pods.protocol import Candidate, Order, Pod, Transport
from bizcharts_pipeline.pods.providers.access import access
from bizcharts_pipeline.pods.providers.answers import pod_of, pods_of, price_of
from bizcharts_pipeline.pods.providers.orders import SSH_PORTS, WORKSPACE, check_id, check_order
from bizcharts_pipeline.pods.providers.rest_http import Reply, ask

_PODS = "/v2/pods"
_GPUS = "/v2/catalog/gpus"
_LEAST_VOLUME_GB = 10  # a smaller one is refused


class Busy(Uncertain):
    """Too many requests (429). ``retry_after`` is the wait that it asks for, in seconds, if it says so."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RunPodRest:
    """Pods of the account whose key is in ``RUNPOD_API_KEY``.

    Raises:
        AccessDenied: there is no key.
    """

    name = "runpod"

    def __init__(self) -> None:
        access()

    def usd_per_hour(self, candidate: Candidate) -> Decimal | None:
        query = {"include": "AVAILABILITY", "product": "POD", "cloud": candidate.cloud}
        gpus = _listed(ask("GET", _GPUS, query=query), "gpus")
        for gpu in gpus:
            if isinstance(gpu, Mapping) and gpu.get("id") == candidate.gpu:
                return price_of(gpu, candidate.cloud)
        raise OrderRefused(f"RunPod has no GPU {candidate.gpu!r}; correct pods.gpus (docs/runpod.md lists ids).")

    def create(self, order: Order) -> Pod:
        check_order(order)
        reply = ask("POST", _PODS, body=_body(order))
        if reply.status not in (200, 201):
            raise _order_refused(reply, order)
        pod = pod_of(reply.body)
        if pod is None:
            raise Uncertain(f"RunPod answered the order of {order.name} without a pod; look it up by its name.")
        return pod

    def find(self, prefix: str) -> list[Pod]:
        return pods_of(_listed(ask("GET", _PODS), "pods"), prefix)

    def get(self, pod_id: str) -> Pod | None:
        reply = ask("GET", f"{_PODS}/{check_id(pod_id)}")
        if reply.status == 404:
            return None
        if reply.status != 200 or reply.body is None:
            raise _refused(reply)
        return pod_of(reply.body)

    def terminate(self, pod_id: str) -> None:
        reply = ask("DELETE", f"{_PODS}/{check_id(pod_id)}")
        if reply.status not in (200, 202, 204, 404):
            raise _refused(reply)

    def transport(self, pod: Pod, keys: Path) -> Transport:
        from bizcharts_pipeline.pods.providers.links import rented

        return rented(pod, keys)


def _body(order: Order) -> dict[str, Any]:
    candidate = order.candidate
    gpu: dict[str, Any] = {"id": candidate.gpu, "count": 1}
    if order.cuda:
        gpu["allowedCudaVersions"] = list(order.cuda)
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
        body["mounts"] = {"persistent": {"size": max(order.volume_gb, _LEAST_VOLUME_GB), "path": WORKSPACE}}
    return body


def _order_refused(reply: Reply, order: Order) -> PodError:
    """Return what the refusal of an order means."""
    wanted = f"{order.candidate.gpu}, {order.candidate.cloud}"
    named = isinstance(reply.body, Mapping) and bool(reply.body.get("errors"))
    if reply.status == 400 and reply.body is not None and not named:
        return NoCapacity(f"RunPod has no {wanted}, or the order breaks one of its rules: {reply.detail}")
    if reply.status == 403 and reply.body is not None:
        return NoCapacity(f"RunPod lets this key have no {wanted}: {reply.detail}")
    if reply.status in (400, 404, 422) and reply.body is not None:
        return OrderRefused(f"RunPod does not take the order of a {wanted} ({reply.status}): {reply.detail}")
    return _refused(reply)


def _refused(reply: Reply) -> PodError:
    """Return what an answer without success means; what proves nothing is uncertain."""
    if reply.status == 401:
        return AccessDenied("RunPod does not accept the key; correct RUNPOD_API_KEY.")
    if reply.status == 402:
        return OutOfFunds(f"RunPod wants money: {reply.detail}")
    if reply.status == 403:
        return AccessDenied(f"RunPod's key may not do this: {reply.detail}")
    if reply.status == 429:
        wait = f"{reply.retry_after:g} s" if reply.retry_after is not None else "a while"
        return Busy(f"RunPod had too many requests; it asks for {wait}.", reply.retry_after)
    if reply.status == 410:
        return Uncertain("RunPod says that this API is gone (410); see whether RUNPOD_API_BASE_URL still holds.")
    return Uncertain(f"RunPod answered {reply.status}: {reply.detail}")


def _listed(reply: Reply, name: str) -> list[Any]:
    if reply.status != 200 or not isinstance(reply.body, Mapping) or not isinstance(reply.body.get(name), list):
        raise _refused(reply) if reply.status != 200 else Uncertain(f"RunPod's list of {name} is none.")
    if reply.body.get("nextCursor"):  # today it lists all; half of a list must not pass for the whole
        raise Uncertain(f"RunPod lists {name} in pages, which this version does not read; set pods.api to 'graphql'.")
    return list(reply.body[name])
