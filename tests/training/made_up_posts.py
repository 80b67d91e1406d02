"""Labelled posts that nobody wrote: three ways of talking, with words that all of them share."""

import random

from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.training.recipe import TextExample

_WAYS = (
    ["it is over", "rugged again", "sold everything at a loss", "this will go to zero", "bagholders in despair"],
    ["how do taxes work", "which wallet is safe", "what is a seed phrase", "any good books", "do you like your job"],
    ["we are so back", "to the moon", "just bought more", "this will make us rich", "new all time high soon"],
)
_ANYTHING = ["bitcoin", "linkers", "frens", "today", "honestly", "anon", "my wife", "since summer", "in my country"]


def made_up(n: int, seed: int = 1) -> list[TextExample]:
    """Return ``n`` examples; every tenth is labelled wrongly, and each third group holds two near-duplicates."""
    draw = random.Random(seed)
    examples: list[TextExample] = []
    for number in range(n):
        way = number % 3
        parts = [*draw.sample(_WAYS[way], 2), *draw.sample(_ANYTHING, 4)]
        draw.shuffle(parts)
        label = draw.randrange(3) if number % 10 == 0 else way
        post = Post(
            draw.choice(["", "general", parts[0]]), ", ".join(parts) + draw.choice([".", "?", "!\n>still here"])
        )
        examples.append(TextExample(1_000 * seed + number, None, post, label, group=number - number % 3 % 2))
    return examples


def labels_of(examples: list[TextExample]) -> list[int]:
    """Return the labels."""
    return [example.label for example in examples]
