"""A RoBERTa of CryptoBERT's shape, tiny and random, and posts of a toy language whose stance it can learn."""

import random
from collections.abc import Sequence
from pathlib import Path

from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.training.recipe import TextExample

WORDS = (("dump", "crash", "rekt"), ("wallet", "gas", "fork"), ("moon", "pump", "rally"))  # bearish, neutral, bullish
FILLER = ("the", "coin", "chain", "desk", "anon", "block", "today", "chart")
CLASSES = ("Bearish", "Neutral", "Bullish")


def make_base(folder: Path, classes: Sequence[str] = CLASSES, seed: int = 0) -> Path:
    """Write the model and its tokenizer to ``folder``; the outputs are ``classes``, in this order."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    words = " ".join([*FILLER, *(word for kind in WORDS for word in kind)])
    tokenizer.train_from_iterator(
        [words] * 20, trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
        **{"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"},
        model_max_length=128,
    )
    torch.manual_seed(seed)
    config = RobertaConfig(
        vocab_size=len(wrapped),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=130,
        type_vocab_size=1,
        id2label=dict(enumerate(classes)),
        label2id={label: position for position, label in enumerate(classes)},
        initializer_range=0.1,
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def toy_examples(count: int, seed: int) -> list[TextExample]:
    """Return posts of which one word says the stance; every two of them are near-duplicates (a group)."""
    drawn = random.Random(f"{seed} toy")
    examples = []
    for number in range(count):
        label = drawn.choices((0, 1, 2), (0.2, 0.6, 0.2))[0]
        words = drawn.choices(FILLER, k=6)
        words[drawn.randrange(6)] = drawn.choice(WORDS[label])
        examples.append(TextExample(number + 1, None, Post(words[0], " ".join(words[1:])), label, number // 2))
    return examples
