"""What a vision model is asked about one post: the same words in training and in scoring, for it knows no others."""

import re

INSTRUCTION = "Classify this 4chan /biz/ crypto post as bearish, neutral, or bullish."
WITH_PICTURE = f"{INSTRUCTION} Consider both the image and text together."
WITHOUT_PICTURE = f"{INSTRUCTION} Consider its text alone."
PICTURE = "<image>"  # where trainers put the picture
# A tokenizer over bytes makes no more tokens than there are bytes. With a thumbnail (250 pixels: 81 tokens), the
# instruction and a chat template that is below 2,048 in any language: no trainer has to cut off the answer. Of 672
# labelled posts 20 are longer.
MAX_BYTES = 1_500

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Trainers and tokenizers take such for their own: '<image>', '<|im_end|>', '</s>', '<start_of_turn>' (Qwen, Gemma,
# Llama, Phi); with the full-width bar U+FF5C (DeepSeek); '[INST]', '[IMG]', '[TOOL_CALLS]' and so on (Mistral).
_TAG = re.compile(
    "<(?=[^\\W\\d]|[|\uff5c/!?_])"
    r"|\[(?=/?(?:INST|IMG|IMG_BREAK|IMG_END|PREFIX|MIDDLE|SUFFIX|THINK|ARGS|CALL_ID|AUDIO|BEGIN_AUDIO|"
    r"TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|AVAILABLE_TOOLS|SYSTEM_PROMPT)\])"
)


def readable(subject: str | None, text: str | None) -> str:
    """Return subject and text of a post as a model sees them: without control characters, with nothing in them that a
    trainer takes for a tag, and no longer than :data:`MAX_BYTES` of UTF-8."""
    whole = "\n".join(part for part in (subject, text) if part)
    whole = _TAG.sub("‹", _UNPRINTABLE.sub("", whole)).strip()
    encoded = whole.encode()
    if len(encoded) <= MAX_BYTES:
        return whole
    return encoded[: MAX_BYTES - len("…".encode())].decode(errors="ignore") + "…"


def question(text: str, *, picture: bool) -> str:
    """Return the question about a post with this :func:`readable` text; ``picture``: it comes with its picture."""
    instruction = f"{PICTURE}\n{WITH_PICTURE}" if picture else WITHOUT_PICTURE
    return f"{instruction}\n\n{text}" if text else instruction
