"""Builds a vision-language model for tests: Qwen2.5-VL's architecture, tiny and random, with a tokenizer.

Language model and vision tower have two layers of width 64; the model takes 1.5 MB on disk and is built in seconds
without any download. It is untrained, but the real model's script can train it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bizcharts_pipeline.labels.stances import STANCES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Qwen's own tokens in their order, placed after the vocabulary as in the original.
_SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
_WIDTH, _LAYERS, _HEADS = 64, 2, 4
_MERGES = 250  # of the tokenizer, on top of the 256 bytes
# With the usual 0.02, adapters below a random, frozen head cannot steer it.
_SPREAD, _HEAD_GAIN = 0.1, 5.0
_ANSWERS = tuple(STANCES)  # each a single token; in a vocabulary of real size, their first tokens differ
_PATCH_PIXELS = 28 * 28


def build_tiny_vlm(folder: Path, corpus: Sequence[str], seed: int = 0) -> None:
    """Write a tiny random vision-language model, for the demo and tests, and its processor into ``folder``, in the
    hub's format.

    Args:
        corpus: texts similar to the training texts, from which the tokenizer's byte pairs are learned.
    """
    import torch
    from transformers import GenerationConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.utils import logging

    tokenizer = _tokenizer(corpus)
    number = tokenizer.convert_tokens_to_ids
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(_config(tokenizer))
    with torch.no_grad():
        model.lm_head.weight.mul_(_HEAD_GAIN)
    end, padding = number("<|im_end|>"), number("<|endoftext|>")
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=end, pad_token_id=padding, bos_token_id=padding
    )
    folder.mkdir(parents=True, exist_ok=True)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(min_pixels=4 * _PATCH_PIXELS, max_pixels=16 * _PATCH_PIXELS).save_pretrained(folder)


def _tokenizer(corpus: Sequence[str]) -> "PreTrainedTokenizerBase":
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + _MERGES, initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator([*corpus, *_ANSWERS * len(corpus)], trainer)
    learned = json.loads(learner.to_str())["model"]
    stock: Any = Qwen2Tokenizer  # its type annotations are narrower than the accepted types
    tokenizer: PreTrainedTokenizerBase = stock(
        vocab=learned["vocab"],
        merges=[tuple(merge) for merge in learned["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        extra_special_tokens=[t for t in _SPECIAL_TOKENS if t not in ("<|im_end|>", "<|endoftext|>")],
        model_max_length=32_768,
    )
    tokenizer.chat_template = _chat_template()
    return tokenizer


def _chat_template() -> str:
    """Return Qwen2.5-VL's chat template, which is part of TRL."""
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / "qwen2_5_vl.jinja").read_text()


def _config(tokenizer: Any) -> Any:
    from transformers import Qwen2_5_VLConfig

    number = tokenizer.convert_tokens_to_ids
    padding = number("<|endoftext|>")
    shape = {"hidden_size": _WIDTH, "intermediate_size": 2 * _WIDTH, "initializer_range": _SPREAD}
    text = {
        **shape,
        "vocab_size": len(tokenizer),
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS // 2,
        "max_position_embeddings": 4096,
        "bos_token_id": padding,
        "eos_token_id": number("<|im_end|>"),
        "pad_token_id": padding,
        # the sections sum to half of a head's width
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
    }
    vision = {
        **shape,
        "depth": _LAYERS,
        "num_heads": _HEADS,
        "out_hidden_size": _WIDTH,
        "fullatt_block_indexes": [_LAYERS - 1],
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
        tie_word_embeddings=False,
    )
