"""RunPod's address and the account's key, read from the environment when needed."""

import os
from dataclasses import dataclass, field, replace

from bizcharts_pipeline.pods.errors import AccessDenied
from bizcharts_pipeline.settings import key_address_problem

KEY_VARIABLE = "RUNPOD_API_KEY"
URL_VARIABLE = "RUNPOD_API_BASE_URL"  # the SDK's variable name
PUBLIC_URL = "https://api.runpod.io"
QUEUE_VARIABLE = "RUNPOD_ENDPOINT_BASE_URL"  # the SDK's variable name
QUEUE_URL = "https://api.runpod.ai/v2"


@dataclass(frozen=True)
class Access:
    """Address and key of one of RunPod's services. The key stays on this machine: pods have their own."""

    url: str
    key: str = field(repr=False)


def access() -> Access:
    """Return address and key of RunPod's control plane.

    Raises:
        AccessDenied: the key is missing, or one of the two cannot be used; the message names the variable.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise AccessDenied(
            f"No key for RunPod: set {KEY_VARIABLE} in the environment (RunPod's console, Settings, API keys), "
            "or BIZCHARTS_POD_PROVIDER to ssh or local."
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise AccessDenied(f"{KEY_VARIABLE} contains a character that is not allowed in a key; copy the key again.")
    return Access(_url(URL_VARIABLE, PUBLIC_URL), key)


def queue_access() -> Access:
    """Return address and key of the queues of RunPod's serverless endpoints.

    Raises:
        AccessDenied: as :func:`access`.
    """
    return replace(access(), url=_url(QUEUE_VARIABLE, QUEUE_URL))


def control_url() -> str | None:
    """Return the address that pods need for their self-termination; ``None`` for the public one, which they know.

    Raises:
        AccessDenied: it is not a valid address.
    """
    url = _url(URL_VARIABLE, PUBLIC_URL)
    return None if url == PUBLIC_URL else url


def _url(variable: str, public: str) -> str:
    url = (os.environ.get(variable) or public).strip().rstrip("/")
    if problem := key_address_problem(url):
        raise AccessDenied(f"{variable} {problem}")
    return url
