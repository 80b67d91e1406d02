"""A host of your own as a provider: a pod is a name, stored as a marker file, and a job's folder."""

import re
import secrets
import shlex
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from bizcharts_pipeline.pods.errors import AccessDenied, HostChanged, LinkError, LoginRefused, PodError, Uncertain
from bizcharts_pipeline.pods.protocol import Address, Candidate, Order, Pod, PodStatus, Transport
from bizcharts_pipeline.pods.providers.orders import check_id, check_order
from bizcharts_pipeline.pods.transport import CommandFailed

_MARKERS = '"${BIZCHARTS_WORKSPACE:-$HOME}"/.bizcharts-pods'
_MARKER = re.compile(r"(?P<name>[a-z0-9-]+)\.(?P<pod_id>[0-9a-f]{12})")
_END_SECONDS = 60
# A running supervisor stops the job and exits; if it died, `cancel` kills the remains of the job.
_END = """
for workspace in "${{BIZCHARTS_WORKSPACE:-/workspace}}" "$HOME/workspace"; do
    root=$workspace/bizcharts/{name}-{pod_id}
    [ -d "$root" ] || continue
    python=$(cat "$root/supervisor-python" 2>/dev/null || echo python3)
    [ -f "$root/supervisor.py" ] && "$python" -I "$root/supervisor.py" cancel "$root"
    touch "$root/cancel" "$root/collected"
    tries=0
    while [ -e "$root/supervisor.lock" ] && [ $tries -lt 150 ] && ! flock -n "$root/supervisor.lock" true; do
        sleep 0.2
        tries=$((tries + 1))
    done
    rm -rf -- "$root" || exit 1
done
rm -f -- {markers}/{name}.{pod_id}
"""


class OwnHost:
    """A host of your own as a provider. It is free of charge and always available.

    Args:
        name: as stored in the ledger.
        address: of its sshd; unused for this machine itself.
        connect: returns the transport.
        where: name for messages.
    """

    def __init__(self, name: str, address: Address, connect: Callable[[], Transport], where: str) -> None:
        self.name = name
        self._address = address
        self._connect = connect
        self._where = where

    def usd_per_hour(self, candidate: Candidate) -> Decimal | None:
        return Decimal(0)

    def create(self, order: Order) -> Pod:
        check_order(order)
        pod_id = secrets.token_hex(6)
        self._run(f"umask 077; mkdir -p {_MARKERS} && touch {_MARKERS}/{order.name}.{pod_id}")
        return self._pod(order.name, pod_id)

    def find(self, prefix: str) -> list[Pod]:
        listed = self._run(f"[ ! -d {_MARKERS} ] || ls -1tr {_MARKERS}").decode(errors="replace")
        markers = filter(None, map(_MARKER.fullmatch, listed.split()))
        return [self._pod(found["name"], found["pod_id"]) for found in markers if found["name"].startswith(prefix)]

    def get(self, pod_id: str) -> Pod | None:
        return next((pod for pod in self.find("") if pod.pod_id == check_id(pod_id)), None)

    def terminate(self, pod_id: str) -> bool:
        if (pod := self.get(pod_id)) is None:
            return False
        self._run(_END.format(name=shlex.quote(pod.name), pod_id=pod.pod_id, markers=_MARKERS))
        return True

    def transport(self, pod: Pod, keys: Path) -> Transport:
        return self._connect()

    def _pod(self, name: str, pod_id: str) -> Pod:
        return Pod(pod_id, name, PodStatus.RUNNING, self._address, None, Decimal(0), None)

    def _run(self, command: str) -> bytes:
        """Run a command on the host.

        Raises:
            AccessDenied: the host refuses the login, or its host key has changed.
            Uncertain: it did not answer, or the command failed.
        """
        try:
            return self._connect().run(command, timeout_seconds=_END_SECONDS)
        except (LoginRefused, HostChanged) as error:
            refusal: PodError = AccessDenied(f"{self._where} refuses the login: {error}")
        except (LinkError, CommandFailed) as error:
            refusal = Uncertain(f"{self._where}: {error}")
        raise refusal
