"""Addresses and keys of the services, read from the environment when needed."""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bizcharts_pipeline.autolabel.errors import AutoLabelError, KeyMissing
from bizcharts_pipeline.settings import Provider, is_loopback, key_address_problem

URL_VARIABLES: dict[Provider, str] = {"openai": "OPENAI_BASE_URL", "gemini": "GOOGLE_GEMINI_BASE_URL"}
_DEFAULTS: dict[Provider, str] = {
    "openai": "https://api.openai.com/v1",
    "gemini": "https://generativelanguage.googleapis.com",
}
_KEYS: dict[Provider, tuple[str, ...]] = {
    "openai": ("OPENAI_API_KEY",),
    "gemini": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),  # both, in this order, as Google's SDK does
}
_PLACEHOLDER = "no-key-for-loopback"


@dataclass(frozen=True)
class Access:
    """Address and key of a service."""

    url: str
    key: str = field(repr=False)
    gateway: bool = False  # not the service's own host


def address(provider: Provider) -> str:
    """Return the address of a provider of labels, unvalidated."""
    return (os.environ.get(URL_VARIABLES[provider]) or _DEFAULTS[provider]).strip().rstrip("/")


def access(provider: Provider) -> Access:
    """Return address and key of a provider of labels; a service on loopback needs no key.

    Raises:
        KeyMissing: no key is set; the message names the variable.
        AutoLabelError: key or address cannot be used.
    """
    variable, url = URL_VARIABLES[provider], address(provider)
    if problem := key_address_problem(url):
        raise AutoLabelError(f"{variable} {problem}")
    gateway = urlsplit(url).hostname != urlsplit(_DEFAULTS[provider]).hostname
    for name in _KEYS[provider]:
        if key := os.environ.get(name, "").strip():
            if not (key.isascii() and key.isprintable() and " " not in key):
                raise AutoLabelError(
                    f"{name} contains a character that is not allowed in an API key; copy the key again."
                )
            return Access(url, key, gateway)
    if is_loopback(url):
        return Access(url, _PLACEHOLDER, gateway)
    raise KeyMissing(
        f"No key for {provider}: set {_KEYS[provider][-1]} in the environment "
        f"(or set {variable} to a service on this machine, which needs no key)."
    )
