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
    AccessDenied,
    ApiGone,
    NoCapacity,
    NotOffered,
    OrderRefused,
    OutOfFunds,
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
from bizcharts_pipeline.pods.providers.rest_http import Reply, ask

_PODS = "/v2/pods"
_GPUS = "/v2/catalog/gpus"
_MIN_VOLUME_GB = 10  # smaller ones are refused
MAX_PAGES = 100
_WAITS = 3  # retries after "too many requests", each after the requested pause
_LONGEST_WAIT = 30.0  # seconds; a request with a longer requested pause fails
_WAIT = 2.0  # seconds, if the response names no pause


class Busy(Uncertain):
    """Too many requests (429). ``retry_after`` is the requested pause in seconds, if given."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RunPodRest:
    """Pods of the account whose key is in ``RUNPOD_API_KEY``.

    A request that was refused with "too many requests" (429), and so not executed, is retried up to three times after
    the requested pause, if that is short.

    Raises:
        AccessDenied: the key is missing.
        ApiGone: from every method: the API as a whole answers 410, or 404 to a request without a pod id.
    """

    name = "runpod"

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        access()
        self._sleep = sleep

    def usd_per_hour(self, candidate: Candidate) -> Decimal | None:
        query = {"include": "AVAILABILITY", "product": "POD", "cloud": candidate.cloud}
        gpus = _listed(self._ask("GET", _GPUS, query=query), "gpus")
        for gpu in gpus:
            if isinstance(gpu, Mapping) and gpu.get("id") == candidate.gpu:
                return price_of(gpu, candidate.cloud)
        raise NotOffered(f"RunPod has no GPU {candidate.gpu!r}; correct pods.gpus (docs/runpod.md lists ids).")

    def create(self, order: Order) -> Pod:
        check_order(order)
        reply = self._ask("POST", _PODS, body=_body(order))
        if reply.status not in (200, 201):
            raise _order_refused(reply, order)
        pod = pod_of(reply.body)
        if pod is None:
            raise Uncertain(f"RunPod's answer to the order of {order.name} has no pod; search for that name first.")
        return pod

    def find(self, prefix: str) -> list[Pod]:
        pods: dict[str, Any] = {}  # by id: a pod that moves between pages counts once
        cursors: list[str] = []
        for _ in range(MAX_PAGES):
            reply = self._ask("GET", _PODS, query={"cursor": cursors[-1]} if cursors else None)
            for pod in _listed(reply, "pods"):
                pods[str(pod.get("id")) if isinstance(pod, Mapping) else f"not a pod {len(pods)}"] = pod
            cursor = _next_page(reply.body)
            if cursor is None:
                return pods_of(list(pods.values()), prefix)
            if cursor in cursors:
                raise Uncertain("RunPod's list of pods repeats a page; try again later.")
            cursors.append(cursor)
        raise Uncertain(f"RunPod's list of pods has more than {MAX_PAGES} pages; try again later.")

    def get(self, pod_id: str) -> Pod | None:
        reply = self._ask("GET", f"{_PODS}/{check_id(pod_id)}")
        if _is_unknown_pod(reply):
            return None
        if reply.status != 200 or reply.body is None:
            raise _refused(reply)
        return pod_of(reply.body)

    def terminate(self, pod_id: str) -> bool:
        reply = self._ask("DELETE", f"{_PODS}/{check_id(pod_id)}")
        if _is_unknown_pod(reply):
            return False
        if reply.status not in (200, 202, 204):
            raise _refused(reply)
        if reply.status == 200 and reply.body is None:
            raise Uncertain(f"RunPod's answer to the termination of {pod_id} is not JSON: {reply.detail}")
        return True

    def transport(self, pod: Pod, keys: Path) -> Transport:
        from bizcharts_pipeline.pods.providers.links import rented

        return rented(pod, keys)

    def _ask(self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None) -> Reply:
        for _ in range(_WAITS):
            reply = ask(method, path, query=query, body=body)
            wait = _WAIT if reply.retry_after is None else reply.retry_after
            if reply.status != 429 or wait > _LONGEST_WAIT:
                break
            self._sleep(wait)
        else:
            reply = ask(method, path, query=query, body=body)
        if reply.status == 410 or (reply.status == 404 and path in (_PODS, _GPUS)):
            raise ApiGone(f"RunPod's REST API was switched off ({reply.status}): {reply.detail}")
        return reply


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


def _is_unknown_pod(reply: Reply) -> bool:
    """Return whether the API itself reports an unknown pod; a 404 page may come from a proxy."""
    return reply.status == 404 and isinstance(reply.body, Mapping)


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
    return _refused(reply)


def _refused(reply: Reply) -> PodError:
    """Return the error for an unsuccessful response; if it proves nothing, it is Uncertain."""
    if reply.status == 401:
        return AccessDenied("RunPod does not accept the key; check RUNPOD_API_KEY.")
    if reply.status == 402:
        return OutOfFunds(f"RunPod requires payment: {reply.detail}")
    if reply.status == 403:
        return AccessDenied(f"RunPod's key lacks the permission: {reply.detail}")
    if reply.status == 429:
        wait = f"{reply.retry_after:g} s" if reply.retry_after is not None else "a while"
        return Busy(f"RunPod received too many requests; it requests a pause of {wait}.", reply.retry_after)
    return Uncertain(f"RunPod answered {reply.status}: {reply.detail}")


def _listed(reply: Reply, name: str) -> list[Any]:
    if reply.status != 200:
        raise _refused(reply)
    if not isinstance(reply.body, Mapping) or not isinstance(reply.body.get(name), list):
        raise Uncertain(f"RunPod's answer is not a list of {name}: {reply.detail}")
    return list(reply.body[name])


def _next_page(body: Mapping[str, Any]) -> str | None:
    """Return the cursor of the next page; ``None`` on the last or only page.

    Raises:
        Uncertain: this cannot be determined; an incomplete list must not pass for a complete one.
    """
    if "pagination" not in body and not body.get("nextCursor"):
        return None  # as in August 2026: all pods in one response
    pages = body.get("pagination")
    if isinstance(pages, Mapping):
        more, cursor = pages.get("hasNextPage"), pages.get("nextCursor")
        if more is False:
            return None
        if more is True and isinstance(cursor, str) and cursor:
            return cursor
    raise Uncertain("The pagination of RunPod's list of pods cannot be parsed; set pods.api to 'graphql'.")
