"""Supported vision-language base models: module names by architecture, and pinned commits.

Module names differ by architecture and overlap between vision tower and language model (``gate_proj`` is in both of
Qwen2.5-VL's), so the modules that get an adapter are selected per architecture by regular expressions over full names.
"""

from dataclasses import dataclass

from outcome import BadInput

_LANGUAGE = r".*language_model\.layers\.\d+\.(?:self_attn|mlp)\."


@dataclass(frozen=True)
class Base:
    """An architecture, as named by ``model_type`` in ``config.json``."""

    architecture: str
    vision: str  # the vision tower's module, including the projector to the language model
    unquantised: tuple[str, ...]  # full names: bitsandbytes matches them from their start
    vision_linears: str  # linear modules of the tower, for adapting it too

    def targets(self, which: str, *, freeze_vision: bool) -> str:
        """Return the regular expression of the base model's modules that get an adapter; ``which`` is 'linear' or
        'qv'."""
        names = "(?:q_proj|v_proj)" if which == "qv" else "(?:[qkvo]_proj|gate_proj|up_proj|down_proj)"
        language = f"{_LANGUAGE}{names}"
        return language if freeze_vision else f"(?:{language}|{self.vision_linears})"

    def of_vision(self, module: str) -> bool:
        """Whether a module's full name, with any prefix by PEFT, belongs to the base model's vision tower."""
        return f".{self.vision}." in f".{module}."


QWEN_2_5_VL = Base(
    "qwen2_5_vl",
    "visual",
    ("model.visual", "lm_head"),
    r".*visual\.blocks\.\d+\.(?:attn\.(?:qkv|proj)|mlp\.(?:gate_proj|up_proj|down_proj))",
)
QWEN_3_VL = Base(
    "qwen3_vl",
    "visual",
    ("model.visual", "lm_head"),
    r".*visual\.blocks\.\d+\.(?:attn\.(?:qkv|proj)|mlp\.(?:linear_fc1|linear_fc2))",
)
LLAVA = Base(
    "llava",
    "vision_tower",
    ("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    r".*vision_tower\..*layers\.\d+\.(?:self_attn\.(?:[qkv]_proj|out_proj)|mlp\.(?:fc1|fc2))",
)
BASES = {base.architecture: base for base in (QWEN_2_5_VL, QWEN_3_VL, LLAVA)}

REVISIONS = {
    "Qwen/Qwen2.5-VL-7B-Instruct": "cc594898137f460bfe9f0759e9844b3ce807cfb5",
    "Qwen/Qwen3-VL-8B-Instruct": "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b",
    "llava-hf/llava-1.5-7b-hf": "b234b804b114d9e37bb655e11cbbb5f5e971b7a9",
}


def base_of(architecture: str) -> Base:
    """Return the description of a supported base model by its architecture.

    Raises:
        BadInput: it is not a known base model.
    """
    try:
        return BASES[architecture]
    except KeyError:
        raise BadInput(f"base: {architecture!r} is not a supported architecture ({', '.join(BASES)})") from None
