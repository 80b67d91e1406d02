"""Loading of the base model, optionally in 4 bits, with a check that its vision tower is unchanged."""

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
DTYPE = torch.bfloat16 if CUDA else torch.float32  # of computations


def access(spec: Spec) -> dict[str, Any]:
    """Return the arguments for loading the base model of the training: its commit, and the hub's token if any. Its
    code is never run."""
    if spec.local:
        return {"local_files_only": True, "trust_remote_code": False}
    return {"revision": spec.commit, "token": hub_token(), "trust_remote_code": False}


def read_base(spec: Spec) -> Base:
    """Return the description of the base model's architecture.

    Raises:
        BadInput: the architecture is not supported.
        OSError: the hub cannot be reached.
    """
    try:
        config = AutoConfig.from_pretrained(spec.base, **access(spec))
    except ValueError as error:  # a model type unknown to the library
        raise BadInput(f"the base model {spec.base} is not supported: {str(error)[:300]}") from error
    return base_of(str(config.model_type))


def quantisation(spec: Spec, base: Base) -> BitsAndBytesConfig | None:
    """Return the base model's 4-bit configuration (nf4, double quantisation) of all modules except vision tower and
    head."""
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
    """Return the base model, on the GPU if there is one; its vision tower and head are not quantised."""
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
    """Prevent bitsandbytes from repacking 4-bit weights at the first evaluation (it does so on CPUs with AVX512-BF16).

    Repacking rounds the scales permanently, so that training would continue from changed base weights.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _keep_gradients_out_of_vision(model: Any, base: Base) -> None:
    """Prevent backpropagation through a frozen vision tower.

    For checkpointing, trainers make the outputs of all embeddings require gradients, those of image patches too, and
    find the embeddings by this method.
    """
    for name, module in model.named_modules():
        if base.of_vision(name) and hasattr(module, "get_input_embeddings"):
            module.get_input_embeddings = lambda: None


def load_adapted(spec: Spec, base: Base, adapter: Path) -> Any:
    """Return the base with a trained adapter; the base is quantised as in training."""
    model = PeftModel.from_pretrained(load_base(spec, base), adapter, local_files_only=True)
    return model.eval()


def lora(spec: Spec, base: Base) -> LoraConfig:
    """Return the configuration of the LoRA adapter to train."""
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


def with_parent(model: Any, spec: Spec, base: Base, adapter: Path) -> Any:
    """Return the base with a trained adapter whose training is to be continued.

    Raises:
        BadInput: it has another rank, scale or other modules than the specification orders.
    """
    adapted = PeftModel.from_pretrained(model, adapter, is_trainable=True, local_files_only=True)
    ordered, found = lora(spec, base), adapted.peft_config["default"]
    for name in ("r", "lora_alpha", "target_modules"):
        if getattr(found, name) != getattr(ordered, name):
            raise BadInput(f"the adapter of {spec.parent} has another {name} than the specification orders")
    return adapted


def require_vision_unquantised(model: Any, base: Base, *, quantised: bool) -> None:
    """Raise if the base model's vision tower is 4-bit, which damages it, or if the language model should be 4-bit and
    is not."""
    four_bit = [name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"]
    if wrong := [name for name in four_bit if base.of_vision(name)]:
        raise BadInput(f"{len(wrong)} modules of the vision tower are quantised, for example {wrong[0]}")
    if quantised and not four_bit:
        raise BadInput(
            "no layer of the base model was quantised: its architecture is not supported; choose another base model"
        )


def require_adapted(model: Any, base: Base, *, freeze_vision: bool) -> dict[str, int]:
    """Return the number of trainable modules of the adapted model's language model and vision tower.

    Raises:
        BadInput: other modules are trainable than requested.
    """
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if odd := [name for name in learning if ".lora_" not in name]:
        raise BadInput(f"{odd[0]} is trainable and not an adapter")
    modules = {name.split(".lora_")[0] for name in learning}
    vision = {name for name in modules if base.of_vision(name)}
    if freeze_vision and vision:
        raise BadInput(
            f"{len(vision)} modules of the vision tower are trainable, for example {min(vision)}; it should be frozen"
        )
    if not freeze_vision and not vision:
        raise BadInput("no module of the vision tower is trainable; it should not be frozen")
    if modules == vision:
        raise BadInput("no module of the language model is trainable; correct the target modules of the adapter")
    return {"language": len(modules - vision), "vision": len(vision)}


def cast_adapter(model: Any) -> None:
    """Make the trainable parameters of the model's adapter 32-bit.

    The trainer makes them 16-bit at the start, but loads them from a checkpoint in 32 bits, so that a resumed training
    would differ.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
