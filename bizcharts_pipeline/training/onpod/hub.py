"""The token by which the Hugging Face hub lets us read."""

import os
import re

from outcome import BadInput

VARIABLE = "HF_TOKEN"
_FORM = re.compile(r"[\x21-\x7e]{1,512}")


def hub_token() -> str | None:
    """Return the token; ``None``: there is none.

    Raises:
        BadInput: it is none; the message of a library that was given it would show it.
    """
    token = os.environ.get(VARIABLE, "").strip()
    if token and not _FORM.fullmatch(token):
        raise BadInput(f"{VARIABLE} has characters that no token has")
    return token or None
