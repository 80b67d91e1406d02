"""RunPod through the configured API, or through the other one if RunPod reports that this one was switched off.

Both APIs see the same account: a pod created through one can be found and terminated through the other.
"""

import logging
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeVar

from bizcharts_pipeline.pods.errors import AccessDenied, ApiGone, Uncertain
from bizcharts_pipeline.pods.protocol import Candidate, Order, Pod, Provider, Transport

Answer = TypeVar("Answer")
Dialect = Literal["rest", "graphql"]
_LOG = logging.getLogger(__name__)
_OTHER: dict[Dialect, Dialect] = {"rest": "graphql", "graphql": "rest"}


class RunPod:
    """Pods of the account whose key is in ``RUNPOD_API_KEY``.

    Raises:
        AccessDenied: the key is missing, or ``dialect`` is GraphQL and its SDK is not installed.
        ApiGone: from every method: both APIs were switched off, or the other one's SDK is missing.
    """

    name = "runpod"

    def __init__(self, dialect: Dialect, sleep: Callable[[float], None] = time.sleep) -> None:
        self.dialect: Dialect = dialect  # the API in use
        self._sleep = sleep
        self._provider = _open(dialect, sleep)

    def usd_per_hour(self, candidate: Candidate) -> Decimal | None:
        return self._ask(lambda provider: provider.usd_per_hour(candidate))

    def create(self, order: Order) -> Pod:
        """Create a pod at RunPod: see `protocol.Provider`. An order is not repeated through the other API, as it may
        have been executed."""
        try:
            return self._provider.create(order)
        except ApiGone as error:
            self._switch(error)
            raise Uncertain(
                f"{error} It is not known whether a pod was created: look with `bizcharts pods list` before you order "
                "again; the next order uses the other API."
            ) from None

    def find(self, prefix: str) -> list[Pod]:
        return self._ask(lambda provider: provider.find(prefix))

    def get(self, pod_id: str) -> Pod | None:
        return self._ask(lambda provider: provider.get(pod_id))

    def terminate(self, pod_id: str) -> bool:
        return self._ask(lambda provider: provider.terminate(pod_id))

    def transport(self, pod: Pod, keys: Path) -> Transport:
        return self._provider.transport(pod, keys)

    def _ask(self, question: Callable[[Provider], Answer]) -> Answer:
        try:
            return question(self._provider)
        except ApiGone as error:
            self._switch(error)
        return question(self._provider)

    def _switch(self, error: ApiGone) -> None:
        """Switch to the other API."""
        other = _OTHER[self.dialect]
        try:
            self._provider = _open(other, self._sleep)
        except AccessDenied as missing:
            raise ApiGone(f"{error} The other API cannot be used: {missing}") from None
        _LOG.warning("%s Continuing with pods.api = %r.", error, other)
        self.dialect = other


def _open(dialect: Dialect, sleep: Callable[[float], None]) -> Provider:
    if dialect == "rest":
        from bizcharts_pipeline.pods.providers.runpod_rest import RunPodRest

        return RunPodRest(sleep)
    from bizcharts_pipeline.pods.providers.runpod_graphql import RunPodGraphQL

    return RunPodGraphQL()
