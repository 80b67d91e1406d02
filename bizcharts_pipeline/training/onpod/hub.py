"""Access token of the Hugging Face hub."""

import os
import re

from outcome import BadInput

VARIABLE = "HF_TOKEN"
_FORM = re.compile(r"[\x21-\x7e]{1,512}")


def hub_token() -> str | None:
    """Return the token of the Hugging Face hub, from which a training fetches its base, or ``None`` without one.

    Raises:
        BadInput: it has invalid characters; a library's error message would print it.
    """
    token = os.environ.get(VARIABLE, "").strip()
    if token and not _FORM.fullmatch(token):
        raise BadInput(f"{VARIABLE} contains characters that are not allowed in a token")
    return token or None
