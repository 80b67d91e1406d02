"""Prompt of the vision model about one post. It must be identical in training and in scoring."""

import re

INSTRUCTION = "Classify this 4chan /biz/ crypto post as bearish, neutral, or bullish."
WITH_PICTURE = f"{INSTRUCTION} Consider both the image and text together."
WITHOUT_PICTURE = f"{INSTRUCTION} Consider its text alone."
PICTURE = "<image>"  # trainers replace it by the picture
# A byte-level tokenizer produces at most one token per byte. With a thumbnail (250 pixels: 81 tokens), the instruction
# and a chat template, that is below 2,048 in any language, so no trainer cuts off the answer. Of 672 labelled posts, 20
# are longer.
MAX_BYTES = 1_500

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Special tokens of trainers and tokenizers: '<image>', '<|im_end|>', '</s>', '<start_of_turn>' (Qwen, Gemma, Llama,
# Phi); with the full-width bar U+FF5C (DeepSeek); '[INST]', '[IMG]', '[TOOL_CALLS]' and so on (Mistral).
_TAG = re.compile(
    "<(?=[^\\W\\d]|[|\uff5c/!?_])"
    r"|\[(?=/?(?:INST|IMG|IMG_BREAK|IMG_END|PREFIX|MIDDLE|SUFFIX|THINK|ARGS|CALL_ID|AUDIO|BEGIN_AUDIO|"
    r"TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|AVAILABLE_TOOLS|SYSTEM_PROMPT)\])"
)


def readable(subject: str | None, text: str | None) -> str:
    """Return subject and text of a post as shown to a model: without control characters, with special tokens defused,
    and no longer than :data:`MAX_BYTES` of UTF-8."""
    whole = "\n".join(part for part in (subject, text) if part)
    whole = _TAG.sub("‹", _UNPRINTABLE.sub("", whole)).strip()
    encoded = whole.encode()
    if len(encoded) <= MAX_BYTES:
        return whole
    return encoded[: MAX_BYTES - len("…".encode())].decode(errors="ignore") + "…"


def question(text: str, *, picture: bool) -> str:
    """Return the prompt about a post with this :func:`readable` text; ``picture``: its picture is attached."""
    instruction = f"{PICTURE}\n{WITH_PICTURE}" if picture else WITHOUT_PICTURE
    return f"{instruction}\n\n{text}" if text else instruction
