"""RunPod's address and the account's key, read from the environment when needed."""

import os
from dataclasses import dataclass, field

from bizcharts_pipeline.pods.errors import AccessDenied
from bizcharts_pipeline.settings import key_address_problem

KEY_VARIABLE = "RUNPOD_API_KEY"
URL_VARIABLE = "RUNPOD_API_BASE_URL"  # the SDK's variable name
PUBLIC_URL = "https://api.runpod.io"


@dataclass(frozen=True)
class Access:
    """Address and key of RunPod's control plane. The key stays on this machine: pods have their own."""

    url: str
    key: str = field(repr=False)


def access() -> Access:
    """Return address and key.

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
    return Access(_url(), key)


def control_url() -> str | None:
    """Return the address that pods need for their self-termination; ``None`` for the public one, which they know.

    Raises:
        AccessDenied: it is not a valid address.
    """
    url = _url()
    return None if url == PUBLIC_URL else url


def _url() -> str:
    url = (os.environ.get(URL_VARIABLE) or PUBLIC_URL).strip().rstrip("/")
    if problem := key_address_problem(url):
        raise AccessDenied(f"{URL_VARIABLE} {problem}")
    return url
