"""RunPod through its own SDK (1.12), which uses GraphQL.

Limitations of the SDK: its time-out is 30 s between two bytes, its answers have no size limit, and it drops the status
of an answer. It is imported on use, as its import takes 1.5 s.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from bizcharts_pipeline.http.causes import cause_of
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
from bizcharts_pipeline.pods.protocol import Candidate, Order, Pod, PodStatus, Transport
from bizcharts_pipeline.pods.providers.access import access
from bizcharts_pipeline.pods.providers.answers import pod_of, pods_of, price_of, short_name
from bizcharts_pipeline.pods.providers.orders import (
    SSH_PORTS,
    WORKSPACE,
    check_id,
    check_order,
    without_values,
)
from bizcharts_pipeline.pods.providers.rest_http import ask, post

# RunPod's messages when nothing is free. Anything less explicit may come after a pod was created.
CAPACITY = re.compile(r"no longer any instances available|not enough free GPUs on the host machine", re.IGNORECASE)
_FUNDS = re.compile(
    r"insufficient (funds|balance)|balance is too low|not enough (funds|balance|credits)", re.IGNORECASE
)
_GONE = re.compile(r"\bpod not found\b", re.IGNORECASE)
# A query that violates the schema is refused before any of it is executed.
_INVALID = re.compile(
    r"^Syntax Error|Cannot query field|is not defined by type|was not provided|Expected value of type|"
    r"does not exist in .* enum",
    re.IGNORECASE,
)
_EXCERPT = 200  # maximum characters of a repeated message

Answer = TypeVar("Answer")


class RunPodGraphQL:
    """Pods of the account whose key is in ``RUNPOD_API_KEY``.

    Raises:
        AccessDenied: the SDK is not installed, or the key is missing.
    """

    name = "runpod"

    def __init__(self) -> None:
        access()
        _sdk()

    def usd_per_hour(self, candidate: Candidate) -> Decimal | None:
        try:
            answer = _asked(lambda sdk: sdk.get_gpu(candidate.gpu))
        except OrderRefused as error:
            raise NotOffered(f"RunPod has no GPU {candidate.gpu!r}: {error}") from None
        return price_of(answer, candidate.cloud)

    def create(self, order: Order) -> Pod:
        check_order(order)
        try:
            answer = self._create(order)
        except PodError as error:
            refusal = type(error)(without_values(str(error), order))
        else:
            return _created(answer, order)
        raise refusal

    def _create(self, order: Order) -> Any:
        candidate = order.candidate
        return _asked(
            # Only arguments that the SDK's successor accepts too: it refuses `support_public_ip`, the default here.
            lambda sdk: sdk.create_pod(
                name=order.name,
                image_name=order.image,
                gpu_type_id=candidate.gpu,
                cloud_type=candidate.cloud,
                data_center_id=candidate.data_center,
                gpu_count=1,
                volume_in_gb=order.volume_gb,
                container_disk_in_gb=order.container_disk_gb,
                docker_args=order.start_command or None,
                ports=SSH_PORTS,
                volume_mount_path=WORKSPACE,
                env=dict(order.environment),
                network_volume_id=order.network_volume,
                allowed_cuda_versions=list(order.cuda) or None,
            )
        )

    def find(self, prefix: str) -> list[Pod]:
        return pods_of(_asked(lambda sdk: sdk.get_pods()), prefix)

    def get(self, pod_id: str) -> Pod | None:
        try:
            return pod_of(_asked(lambda sdk: sdk.get_pod(check_id(pod_id))))
        except _PodGone:
            return None

    def terminate(self, pod_id: str) -> bool:
        """Terminate a pod at RunPod: see `protocol.Provider`. The SDK treats any JSON without errors as success; only
        :meth:`get` confirms that the pod is terminated."""
        try:
            _asked(lambda sdk: sdk.terminate_pod(check_id(pod_id)))
        except _PodGone:
            return False
        return True

    def transport(self, pod: Pod, keys: Path) -> Transport:
        from bizcharts_pipeline.pods.providers.links import rented

        return rented(pod, keys)


class _PodGone(Uncertain):
    """The requested pod does not exist."""


def _created(answer: Any, order: Order) -> Pod:
    """Return the new pod; the response does not contain its price, only later ones do."""
    if answer is None:
        raise Uncertain(f"RunPod's answer to the order of {order.name} is empty; search for that name first.")
    pod = pod_of({"name": order.name, "desiredStatus": "CREATED", **answer})
    if pod is None:
        raise Uncertain(f"RunPod terminated {order.name} during its creation; search for that name first.")
    return pod if pod.gpu else _as_ordered(pod, order)


def _as_ordered(pod: Pod, order: Order) -> Pod:
    """Return a new pod, completed from the order with the fields missing in GraphQL's response."""
    return Pod(pod.pod_id, order.name, PodStatus.STARTING, None, short_name(order.candidate.gpu), None, pod.machine)


def _sdk() -> Any:
    try:
        import runpod  # type: ignore[import-untyped]
        from runpod.api import graphql  # type: ignore[import-untyped]
    except ImportError:
        raise AccessDenied(
            "The runpod SDK is not installed: run `make install-pods`, or set pods.api to 'rest', which needs none."
        ) from None
    # The SDK's own request has no size limit, follows redirects and reads ~/.netrc.
    graphql.requests = SimpleNamespace(post=post)
    return runpod


def _asked(question: Callable[[Any], Answer]) -> Answer:
    """Return the SDK's result of ``question``, with the current key."""
    sdk = _sdk()
    sdk.api_key = access().key
    try:
        return question(sdk)
    except PodError:
        raise
    except Exception as error:
        refusal = _refusal(error)
    raise refusal  # outside the handler: the SDK's exception holds the query with the pod's environment


def _refusal(error: Exception) -> PodError:
    """Map an exception of the SDK to one of our errors; unless nothing can have been executed, it is Uncertain."""
    import requests
    from runpod import error as errors

    if isinstance(error, errors.AuthenticationError):
        return AccessDenied("RunPod does not accept the key; check RUNPOD_API_KEY.")
    if isinstance(error, errors.QueryError):
        return _error_for(str(error.message or ""), getattr(error, "status_code", None))
    if isinstance(error, requests.exceptions.JSONDecodeError | KeyError):
        return _without_data()
    if isinstance(error, requests.RequestException):
        return Uncertain(f"RunPod did not answer ({cause_of(error)}); try again later.")
    if type(error) is ValueError:  # raised by the SDK itself, before it sends the order
        return OrderRefused(f"The runpod SDK refused: {str(error)[:_EXCERPT]}")
    return Uncertain(f"RunPod's answer could not be read ({type(error).__name__}); try again later.")


def _without_data() -> PodError:
    """Return the error for an answer without data. The SDK drops the status, so an empty query is sent to get it."""
    try:
        reply = ask("POST", "/graphql", body={"query": "query { __typename }"})
    except PodError:
        return Uncertain("RunPod answered without data, as it does when it is overloaded; try again later.")
    if reply.status in (404, 410):
        return ApiGone(f"RunPod's GraphQL API was switched off ({reply.status}): {reply.detail}")
    return Uncertain(f"RunPod answered without data ({reply.status}); try again later.")


def _error_for(message: str, status: int | None) -> PodError:
    """Map RunPod's error message to one of our errors; only the SDK's successor provides a status."""
    excerpt = message[:_EXCERPT]
    if CAPACITY.search(message):
        return NoCapacity(f"RunPod has no free capacity: {excerpt}")
    if _GONE.search(message) or status == 404:
        return _PodGone(f"RunPod: {excerpt}")
    if status == 402 or _FUNDS.search(message):
        return OutOfFunds(f"RunPod requires payment: {excerpt}")
    if status == 403:
        return AccessDenied(f"RunPod's key lacks the permission: {excerpt}")
    if status == 422 or _INVALID.search(message):
        return OrderRefused(f"RunPod rejects the request as invalid: {excerpt}")
    return Uncertain(f"RunPod: {excerpt}")
