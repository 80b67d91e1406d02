"""RunPod in the dialect that the settings name, or in the other one where RunPod says that this one is gone.

Both dialects see the same account: a pod that one of them created is found, and ended, by the other.
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
        AccessDenied: there is no key, or ``dialect`` is GraphQL and its SDK is not installed.
        ApiGone: by every method: both dialects are gone, or the other one's SDK is missing.
    """

    name = "runpod"

    def __init__(self, dialect: Dialect, sleep: Callable[[float], None] = time.sleep) -> None:
        self.dialect: Dialect = dialect  # the one in use
        self._sleep = sleep
        self._provider = _open(dialect, sleep)

    def usd_per_hour(self, candidate: Candidate) -> Decimal | None:
        return self._ask(lambda provider: provider.usd_per_hour(candidate))

    def create(self, order: Order) -> Pod:
        """See `protocol.Provider`. An order is not repeated in the other dialect: it may have been carried out."""
        try:
            return self._provider.create(order)
        except ApiGone as error:
            self._switch(error)
            raise Uncertain(f"{error} It is ordered through the other API next; look it up first.") from None

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
        """Go over to the other dialect."""
        other = _OTHER[self.dialect]
        try:
            self._provider = _open(other, self._sleep)
        except AccessDenied as missing:
            raise ApiGone(f"{error} The other API cannot be used: {missing}") from None
        _LOG.warning("%s Going on with pods.api = %r.", error, other)
        self.dialect = other


def _open(dialect: Dialect, sleep: Callable[[float], None]) -> Provider:
    if dialect == "rest":
        from bizcharts_pipeline.pods.providers.runpod_rest import RunPodRest

        return RunPodRest(sleep)
    from bizcharts_pipeline.pods.providers.runpod_graphql import RunPodGraphQL

    return RunPodGraphQL()
