"""Text that strangers wrote, as Markdown.

Streamlit reads Markdown in almost every string it is given: links, images, LaTeX between dollar signs, icons
(``:material/…:``), colours (``:red[…]``), emoji names and bare addresses. Escaping with backslashes alone does not do:
icons, emoji names and addresses are looked for in the text *after* its escapes were resolved. So there are two ways to
show such text, and no other is used: :func:`~bizcharts_pipeline.text.untrusted.as_html` inside ``st.html``, and
:func:`as_markdown` everywhere else.
"""

import re

from bizcharts_pipeline.text.untrusted import MAX_CHARACTERS, plain

_JOINER = "\u2060"  # word joiner: has no width, and breaks what is looked for in plain text
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_LOOKED_FOR = re.compile(r"(?<=[:@])|(?<=www)(?=\\?\.)", re.IGNORECASE)


def as_markdown(text: str | None, most: int = MAX_CHARACTERS) -> str:
    """Return a stranger's ``text`` for a Markdown string or label of Streamlit; it is shown as it is and starts
    nothing."""
    return _LOOKED_FOR.sub(_JOINER, _PUNCTUATION.sub(r"\\\1", plain(text, most)))
