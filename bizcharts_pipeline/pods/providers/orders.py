"""What an order may hold: RunPod's SDK splices every value into a query's text and escapes none."""

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
_MIN_SECRET = 6  # characters; a shorter value is no secret, and may be part of any word
_SPLICED = re.compile(r'["\\\x00-\x1f\x7f]')


def check_order(order: Order) -> None:
    """Refuse an order that a dialect would garble, before anything is sent.

    Raises:
        OrderRefused: names the field; values of variables are not shown.
    """
    if not _NAME.fullmatch(order.name) or len(order.name) > NAME_LENGTH:
        raise OrderRefused(
            f"{order.name[:80]!r} is no name of a pod: small letters, digits, '-', {NAME_LENGTH} at most."
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
            raise OrderRefused(f"The order's {field} holds a quote, a backslash or a line's end; leave them out.")
    for name in order.environment:
        if not _VARIABLE.fullmatch(name):
            raise OrderRefused(f"{name[:40]!r} is no name of an environment variable.")
    if len(order.environment) > MAX_VARIABLES:
        raise OrderRefused(f"The order has {len(order.environment)} variables; RunPod takes {MAX_VARIABLES}.")
    if candidate.cloud not in ("SECURE", "COMMUNITY"):
        raise OrderRefused(f"{candidate.cloud[:40]!r} is no cloud; SECURE and COMMUNITY are.")


def check_id(pod_id: str) -> str:
    """Return the id of a pod if it may stand in a query, a path or a command.

    Raises:
        OrderRefused: it may not.
    """
    if not _POD_ID.fullmatch(pod_id):
        raise OrderRefused(f"{pod_id[:70]!r} is no id of a pod.")
    return pod_id


def without_values(text: str, order: Order) -> str:
    """Return what a control plane said of an order, with the values of the order's variables replaced by their
    names."""
    for name, value in sorted(order.environment.items(), key=lambda entry: -len(entry[1])):
        if len(value) >= _MIN_SECRET:
            text = text.replace(value, f"<{name}>")
    return text
