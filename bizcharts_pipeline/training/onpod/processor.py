"""Conversion of posts to model inputs, the same in training and in scoring, with and without a GPU.

Qwen's stock processors include a video processor that needs torchvision, which CPU installations must not have; and
they use another image backend where it is installed. Here videos are unsupported, and pixels always come from PIL.
"""

import json
from pathlib import Path
from typing import Any

from bases import LLAVA, QWEN_2_5_VL, QWEN_3_VL, Base
from spec import Spec
from transformers import AutoImageProcessor, AutoTokenizer, LlavaProcessor, Qwen2_5_VLProcessor, Qwen3VLProcessor
from transformers.processing_utils import ProcessorMixin
from transformers.utils.hub import cached_file

_STOCK: dict[str, type[ProcessorMixin]] = {
    QWEN_2_5_VL.architecture: Qwen2_5_VLProcessor,
    QWEN_3_VL.architecture: Qwen3VLProcessor,
}


def load_processor(source: str, base: Base, spec: Spec, **access: Any) -> Any:
    """Return the vision model's processor in ``source`` (the base, or an adapter's folder), with the specified limits
    of pixels per picture.

    Args:
        access: arguments for loading ``source``, as in :func:`model.access`.
    """
    tokenizer = AutoTokenizer.from_pretrained(source, **access)
    template = _template(source, access) or tokenizer.chat_template
    if base is LLAVA:
        pictures = AutoImageProcessor.from_pretrained(source, backend="pil", **access)  # type: ignore[no-untyped-call]
        more = _json(source, "processor_config.json", access)
        kept = ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens")
        return LlavaProcessor(  # type: ignore[no-untyped-call]
            pictures, tokenizer, chat_template=template, **{name: more[name] for name in kept if name in more}
        )
    size = {"shortest_edge": spec.min_pixels, "longest_edge": spec.max_pixels}
    pictures = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
        source, backend="pil", size=size, **access
    )
    return _image_only(_STOCK[base.architecture])(pictures, tokenizer, chat_template=template)


def _image_only(stock: type[Any]) -> type[Any]:
    """Return Qwen's processor without video support, under the stock name, so that it is saved as the stock one."""

    class ImageOnly(stock):  # type: ignore[misc]
        def __init__(
            self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None
        ) -> None:
            for name in ("image", "video"):
                token = f"<|{name}_pad|>"
                setattr(self, f"{name}_token", token)
                setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
            for name in ("vision_start", "vision_end"):
                token = f"<|{name}|>"
                setattr(self, f"{name}_token", token)
                setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
            ProcessorMixin.__init__(  # type: ignore[no-untyped-call]
                self, image_processor, tokenizer, chat_template=chat_template
            )

    ImageOnly.__name__ = ImageOnly.__qualname__ = stock.__name__
    return ImageOnly


def _template(source: str, access: dict[str, Any]) -> str | None:
    if path := _file(source, "chat_template.jinja", access):
        return path.read_text()
    template = _json(source, "chat_template.json", access).get("chat_template")
    return str(template) if template else None


def _json(source: str, name: str, access: dict[str, Any]) -> dict[str, Any]:
    path = _file(source, name, access)
    return dict(json.loads(path.read_bytes())) if path else {}


def _file(source: str, name: str, access: dict[str, Any]) -> Path | None:
    path = cached_file(source, name, _raise_exceptions_for_missing_entries=False, **access)
    return Path(path) if path else None
