"""Parses pods and prices from RunPod's answers in both formats: GraphQL's, as returned by its SDK 1.12, and REST v2's,
which the SDK's successor returns too."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bizcharts_pipeline.pods.errors import Uncertain
from bizcharts_pipeline.pods.protocol import Address, Pod, PodStatus
from bizcharts_pipeline.pods.providers.orders import SSH_PORT

_ENDED = frozenset({"EXITED", "ERROR", "DEAD", "PAUSED"})
_TERMINATED = "TERMINATED"
_MAKER = re.compile(r"^(NVIDIA )?(GeForce )?")
_DISPLAYED_DATE = re.compile(r"([A-Z][a-z]{2} \d{2} \d{4} \d{2}:\d{2}:\d{2}) GMT([+-])(\d{2})(\d{2})")
_LAST = datetime.max.replace(tzinfo=UTC)


def pod_of(answer: object) -> Pod | None:
    """Return the pod in RunPod's answer; ``None`` if there is none, or it is terminated.

    A pod counts as running once its container does. The GPU's short name is kept, which both formats have ('RTX 4090').
    ``machine`` is the host's id within one API; the APIs have different ones.

    Raises:
        Uncertain: the answer does not describe a pod.
    """
    if answer is None:
        return None
    fields = _mapping(answer)
    if not isinstance(fields.get("id"), str) or not fields["id"]:
        raise Uncertain("RunPod's answer has a pod without an id; try again later.")
    stated = str(fields.get("status") or fields.get("desiredStatus"))
    if stated == _TERMINATED:
        return None
    status = PodStatus.STARTING
    if stated in _ENDED:
        status = PodStatus.ENDED
    elif stated == "RUNNING" and fields.get("runtime") is not None:
        status = PodStatus.RUNNING
    return Pod(
        pod_id=fields["id"],
        name=str(fields.get("name") or ""),
        status=status,
        address=_address(fields) if status is PodStatus.RUNNING else None,
        gpu=_gpu(fields),
        usd_per_hour=usd_of(fields.get("cost", fields.get("costPerHr"))) if status is not PodStatus.ENDED else None,
        machine=_machine(fields),
    )


def pods_of(answers: object, prefix: str) -> list[Pod]:
    """Return the pods of a list in RunPod's answer whose names start with ``prefix``, the oldest first.

    Raises:
        Uncertain: it is not a list of pods.
    """
    if not isinstance(answers, list):
        raise Uncertain("RunPod's answer is not a list of pods; try again later.")
    found = [(_born(_mapping(answer)), pod) for answer in answers if (pod := pod_of(_mapping(answer))) is not None]
    mine = [(born, pod.pod_id, pod) for born, pod in found if pod.name.startswith(prefix)]
    return [pod for _, _, pod in sorted(mine, key=lambda entry: entry[:2])]


def price_of(answer: object, cloud: str) -> Decimal | None:
    """Return the price of a GPU from RunPod's answer, in ``cloud`` in USD per hour; ``None`` if it is not offered
    there now.

    Raises:
        Uncertain: the answer does not describe a GPU.
    """
    fields = _mapping(answer)
    side = cloud.lower()
    if fields.get(side, fields.get(f"{side}Cloud")) is False or fields.get("availability") == "NONE":
        return None
    price = fields.get("price")
    return usd_of(price.get(side) if isinstance(price, Mapping) else fields.get(f"{side}Price"))


def short_name(gpu: str) -> str:
    """Return the name of a pod's GPU without the manufacturer: 'NVIDIA GeForce RTX 4090' is displayed as 'RTX 4090'."""
    return _MAKER.sub("", gpu)


def _address(fields: Mapping[str, Any]) -> Address | None:
    """Return the public address of sshd: REST's ``ssh.direct``, or from the ports of either format."""
    direct = _inner(_inner(fields, "ssh"), "direct")
    if _is_port(direct.get("port")) and direct.get("host"):
        return Address(str(direct["host"]), int(direct["port"]), str(direct.get("username") or "root"))
    for port in _inner(fields, "runtime").get("ports") or ():
        entry = port if isinstance(port, Mapping) else {}
        public = entry.get("public", entry.get("publicPort"))
        inside = entry.get("private", entry.get("privatePort"))
        if inside == SSH_PORT and entry.get("isIpPublic") is not False and entry.get("ip") and _is_port(public):
            return Address(str(entry["ip"]), int(public), "root")
    return None


def _gpu(fields: Mapping[str, Any]) -> str | None:
    name = _inner(fields, "gpu").get("id") or _inner(fields, "machine").get("gpuDisplayName")
    return short_name(name) if isinstance(name, str) else None


def _machine(fields: Mapping[str, Any]) -> str | None:
    """Return GraphQL's ``machineId``; REST v2 has the host only in the proxy's user name, ``<pod>-<host>``."""
    if machine := fields.get("machineId"):
        return str(machine)
    proxied = str(_inner(_inner(fields, "ssh"), "proxy").get("username") or "")
    return proxied.partition("-")[2] or None


def _born(fields: Mapping[str, Any]) -> datetime:
    """Return the time of creation (REST) or of the last status change (GraphQL has no other); else the far future."""
    created = fields.get("createdAt")
    if isinstance(created, str):
        try:
            moment = datetime.fromisoformat(created)
        except ValueError:
            return _LAST
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    found = _DISPLAYED_DATE.search(str(fields.get("lastStatusChange") or ""))
    if not found:
        return _LAST
    shift = timedelta(hours=int(found[3]), minutes=int(found[4]))
    try:
        local = datetime.strptime(found[1], "%b %d %Y %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return _LAST
    return local - shift if found[2] == "+" else local + shift


def usd_of(value: object) -> Decimal | None:
    """Return an amount of RunPod's bill exactly as written; ``None`` if it is missing, zero or invalid."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        return None
    return Decimal(str(value))


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65_536


def _inner(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, Mapping) else {}


def _mapping(answer: object) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping):
        raise Uncertain("RunPod's answer has an unexpected type; try again later.")
    return answer
