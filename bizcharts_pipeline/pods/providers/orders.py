"""Validation of orders: RunPod's SDK inserts every value into a query's text without escaping it."""

import re

from bizcharts_pipeline.pods.errors import OrderRefused
from bizcharts_pipeline.pods.protocol import NAME_LENGTH, Order

SSH_PORT = 22
SSH_PORTS = f"{SSH_PORT}/tcp"
WORKSPACE = "/workspace"  # where official images expect a volume
MAX_VARIABLES = 50
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_POD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MIN_SECRET = 6  # characters; a shorter value is not a secret, and may be part of any word
_SPLICED = re.compile(r'["\\\x00-\x1f\x7f]')


def check_order(order: Order) -> None:
    """Refuse the order of a pod that an API would garble, before anything is sent.

    Raises:
        OrderRefused: the message names the field; values of variables are not shown.
    """
    if not _NAME.fullmatch(order.name) or len(order.name) > NAME_LENGTH:
        raise OrderRefused(
            f"{order.name[:80]!r} is not a valid pod name: lower-case letters, digits and '-', at most {NAME_LENGTH}."
        )
    candidate = order.candidate
    fields = {
        "image": order.image,
        "start_command": order.start_command,
        "gpu": candidate.gpu,
        "data_center": candidate.data_center or "",
        "network_volume": order.network_volume or "",
        "cuda": ",".join(order.cuda),
    }
    variables = {f"environment {name[:40]!r}": value for name, value in order.environment.items()}
    for field, value in (fields | variables).items():
        if _SPLICED.search(value):
            raise OrderRefused(f"The order's {field} contains a quote, a backslash or a line break; remove it.")
    for name in order.environment:
        if not _VARIABLE.fullmatch(name):
            raise OrderRefused(f"{name[:40]!r} is not a valid name of an environment variable.")
    if len(order.environment) > MAX_VARIABLES:
        raise OrderRefused(f"The order has {len(order.environment)} variables; RunPod accepts at most {MAX_VARIABLES}.")
    if candidate.cloud not in ("SECURE", "COMMUNITY"):
        raise OrderRefused(f"{candidate.cloud[:40]!r} is not a cloud; use SECURE or COMMUNITY.")


def check_id(pod_id: str) -> str:
    """Return the id of a pod, if it is safe in a query, a path and a command.

    Raises:
        OrderRefused: it is not.
    """
    if not _POD_ID.fullmatch(pod_id):
        raise OrderRefused(f"{pod_id[:70]!r} is not a valid id of a pod, though RunPod answered with it.")
    return pod_id


def without_values(text: str, order: Order) -> str:
    """Return a control plane's message about the order of a pod, with the values of the order's variables replaced by
    their names."""
    for name, value in sorted(order.environment.items(), key=lambda entry: -len(entry[1])):
        if len(value) >= _MIN_SECRET:
            text = text.replace(value, f"<{name}>")
    return text
