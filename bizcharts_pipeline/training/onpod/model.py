"""Loads a base, 4-bit where that is asked for, and makes sure that its vision tower is left as it is."""

from pathlib import Path
from typing import Any

import torch
from bases import Base, base_of
from hub import hub_token
from outcome import BadInput
from peft import LoraConfig, PeftModel
from spec import Spec
from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

CUDA = torch.cuda.is_available()
DTYPE = torch.bfloat16 if CUDA else torch.float32  # what is computed in


def access(spec: Spec) -> dict[str, Any]:
    """Return how the base is reached: its commit, and the hub's token if there is one. Code of it is never run."""
    if spec.local:
        return {"local_files_only": True, "trust_remote_code": False}
    return {"revision": spec.commit, "token": hub_token(), "trust_remote_code": False}


def read_base(spec: Spec) -> Base:
    """Return what is known of the base's architecture.

    Raises:
        BadInput: it is of an unknown one.
        OSError: its hub cannot be reached.
    """
    try:
        config = AutoConfig.from_pretrained(spec.base, **access(spec))
    except ValueError as error:  # a model type that the library has never heard of
        raise BadInput(f"base {spec.base}: {str(error)[:300]}") from error
    return base_of(str(config.model_type))


def quantisation(spec: Spec, base: Base) -> BitsAndBytesConfig | None:
    """Return the 4-bit configuration: nf4, double quantised, of everything but vision tower and head."""
    if spec.quantise == "none":
        return None
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=DTYPE,
        llm_int8_skip_modules=list(base.unquantised),
    )


def load_base(spec: Spec, base: Base) -> Any:
    """Return the base on the GPU if there is one, its vision tower and head not quantised."""
    model = AutoModelForImageTextToText.from_pretrained(
        spec.base,
        dtype=DTYPE,
        quantization_config=quantisation(spec, base),
        device_map={"": 0} if CUDA else None,
        attn_implementation="sdpa",
        use_safetensors=True,
        **access(spec),
    )
    require_vision_unquantised(model, base, quantised=spec.quantise == "nf4")
    _keep_weights(model)
    if spec.freeze_vision:
        _keep_gradients_out_of_vision(model, base)
    return model


def _keep_weights(model: Any) -> None:
    """Forbid bitsandbytes to repack 4-bit weights at the first evaluation, as it does on CPUs with AVX512-BF16: it
    rounds their scales for good, so that what is trained on afterwards is another base."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _keep_gradients_out_of_vision(model: Any, base: Base) -> None:
    """Let no gradient go back through a tower that learns nothing: for the sake of checkpointing, trainers make all
    that is embedded ask for one, patches of pictures too, and find the embeddings by this method."""
    for name, module in model.named_modules():
        if base.of_vision(name) and hasattr(module, "get_input_embeddings"):
            module.get_input_embeddings = lambda: None


def load_adapted(spec: Spec, base: Base, adapter: Path) -> Any:
    """Return the base with a trained adapter; on the same quantised base as in training, which it belongs to."""
    model = PeftModel.from_pretrained(load_base(spec, base), adapter, local_files_only=True)
    return model.eval()


def lora(spec: Spec, base: Base) -> LoraConfig:
    """Return the adapter's configuration."""
    return LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=base.targets(spec.targets, freeze_vision=spec.freeze_vision),
        base_model_name_or_path=spec.base,
        revision=spec.commit,
    )


def require_vision_unquantised(model: Any, base: Base, *, quantised: bool) -> None:
    """Raise where the vision tower is 4-bit, which spoils it, or where the language model is not but should be."""
    four_bit = [name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"]
    if wrong := [name for name in four_bit if base.of_vision(name)]:
        raise BadInput(f"{len(wrong)} modules of the vision tower are quantised, {wrong[0]} for one")
    if quantised and not four_bit:
        raise BadInput("nothing of the base was quantised")


def require_adapted(model: Any, base: Base, *, freeze_vision: bool) -> dict[str, int]:
    """Return how many modules of language model and vision tower learn; raise where others do than were asked for."""
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if odd := [name for name in learning if ".lora_" not in name]:
        raise BadInput(f"{odd[0]} learns and is no adapter")
    modules = {name.split(".lora_")[0] for name in learning}
    vision = {name for name in modules if base.of_vision(name)}
    if freeze_vision and vision:
        raise BadInput(
            f"{len(vision)} modules of the vision tower learn, {min(vision)} for one, and it is to be frozen"
        )
    if not freeze_vision and not vision:
        raise BadInput("nothing of the vision tower learns, and it is not to be frozen")
    if modules == vision:
        raise BadInput("nothing of the language model learns")
    return {"language": len(modules - vision), "vision": len(vision)}


def cast_adapter(model: Any) -> None:
    """Make what learns 32-bit: the trainer makes it 16-bit, but takes it from a checkpoint as it lies there, so that
    a resumed training would go another way."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
