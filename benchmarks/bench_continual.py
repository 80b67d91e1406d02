"""What a replay buffer and pseudo-labels are worth, on the board's posts of October and December 2025.

    python -m benchmarks continual

Replay: a model of October's labels learns 100 of December's, beside some of October's. Once the text ensemble, fitted
from scratch on both; once a LoRA adapter on the packaged encoder, whose training is continued. Both are judged on the
held-out fifth of either month. Pseudo-labels: the ensemble labels 1,840 posts that nobody labelled (340 of November and
December 2025, 1,500 of 2017) and is fitted again with those of which it is certain. Near-duplicates are on one side of
each split, and pseudo-labelled posts are none of a test post. Skipped without the shared data.
"""

import gzip
import json
import math
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Row
from bizcharts_pipeline.labels.corpus import Post
from bizcharts_pipeline.labels.near_duplicates import duplicate_groups
from bizcharts_pipeline.models.estimate import folds, last_month, read_examples
from bizcharts_pipeline.models.metrics import accuracy, macro_f1
from bizcharts_pipeline.sentiment import scorer
from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.temperature import at_temperature, fit_temperature
from bizcharts_pipeline.training.pseudo_labels import choose
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes.encoders import PACKAGE, find_encoder
from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
from bizcharts_pipeline.training.recipes.fitting import Train, class_weights, out_of_fold
from bizcharts_pipeline.training.replay import OldPost, replay

DATA = Path(os.environ.get("BIZCHARTS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
LABELS = DATA / "labels" / "biz_op_labels_2025_part_a.jsonl"
RECENT = DATA / "biz_posts" / "biz_thread_snapshots_2025-11_12_part_a.jsonl"
EARLIER = DATA / "biz_posts" / "biz_threads_text_2017_part_a.jsonl.gz"
POSTS_OF_2017 = 1_500
NEW = 100
SHARES = (0.0, 0.15, 0.3, 0.5)  # of old posts in the continued training; then all old posts
SEEDS, ADAPTER_SEEDS, PSEUDO_SEEDS = 20, 10, 5
THRESHOLDS = (0.95, 0.9, 0.8)
Examples = Sequence[TextExample]
Predict = Callable[[Examples], list[int]]


@dataclass(frozen=True)
class Split:
    """A fifth of both months held out; of the rest, October's posts and some of December's."""

    old: list[TextExample]
    new: list[TextExample]
    old_test: list[TextExample]
    new_test: list[TextExample]


def rows() -> Iterator[Row]:
    """Yield every figure; nothing without the shared data."""
    if not LABELS.exists():
        return
    examples = read_examples(LABELS)
    with tempfile.TemporaryDirectory() as home:
        train = EnsembleRecipe(home=Path(home)).trainer()
        yield from replay_rows(
            "ensemble fitted from scratch", examples, SEEDS, lambda split, seed: _refits(train, split, seed)
        )
        yield from pseudo_rows(train, examples)
    yield from replay_rows("adapter trained further", examples, ADAPTER_SEEDS, Continued(examples).variants)


def replay_rows(
    name: str, examples: Examples, seeds: int, variants: Callable[[Split, int], Mapping[str, Predict]]
) -> Iterator[Row]:
    """Yield the accuracy on either month of each variant, and its difference to the model before."""
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        split = _split(examples, seed)
        for variant, predict in variants(split, seed).items():
            both = (_accuracy(predict, split.old_test), _accuracy(predict, split.new_test))
            found.setdefault(variant, []).append(both)
    for variant, values in found.items():
        for place, month in enumerate(("October", "December")):
            mine = [100 * value[place] for value in values]
            change = [
                100 * (value[place] - before[place]) for value, before in zip(values, found["before"], strict=True)
            ]
            note = f"change {statistics.fmean(change):+.1f} ± {_error(change):.1f} (standard error), {seeds} splits"
            yield f"{name}, {variant}: {month}", statistics.fmean(mine), "%", note


def pseudo_rows(train: Train, examples: Examples) -> Iterator[Row]:
    """Yield what pseudo-labels add to accuracy and macro-F1, by cross-validation and in December."""
    pool = _pool(examples)
    month = last_month(examples)
    for threshold in THRESHOLDS:
        gains, counts = [], []
        for seed in range(PSEUDO_SEEDS):
            before, after = np.zeros((3, 3)), np.zeros((3, 3))
            for known, test in folds(examples, seed):
                chosen, tables = _with_pseudo(train, examples, pool, (known, test), threshold, seed)
                counts.append(chosen)
                before, after = before + tables[0], after + tables[1]
            gains.append((_metrics(after)[0] - _metrics(before)[0], _metrics(after)[1] - _metrics(before)[1]))
        for place, metric in enumerate(("accuracy", "macro-F1")):
            mine = [100 * gain[place] for gain in gains]
            note = f"± {_error(mine):.2f} (standard error), {PSEUDO_SEEDS} seeds; {statistics.fmean(counts):.0f} posts"
            yield f"pseudo-labels from {threshold}: {metric}, cross-validation", statistics.fmean(mine), "points", note
        chosen, tables = _with_pseudo(train, examples, pool, month, threshold, 0)
        for place, metric in enumerate(("accuracy", "macro-F1")):
            gain = 100 * (_metrics(tables[1])[place] - _metrics(tables[0])[place])
            yield f"pseudo-labels from {threshold}: {metric}, December", gain, "points", f"{chosen} posts"


def _with_pseudo(
    train: Train,
    examples: Examples,
    pool: Examples,
    split: tuple[list[int], list[int]],
    threshold: float,
    seed: int,
) -> tuple[int, list[Any]]:
    """Return the number of pseudo-labels, and the confusion matrices on the test posts without and with them."""
    known, test = ([examples[i] for i in part] for part in split)
    groups = {example.group for example in test}
    free = [post for post in pool if post.group not in groups]
    judged, held_out = out_of_fold(train, known, seed)
    temperature = fit_temperature(held_out, [known[i].label for i in judged])
    teacher = train(known)
    said = at_temperature(teacher.log_probabilities([each.post for each in free]), temperature)
    given = {each.thread_id: (float(p[0]), float(p[1]), float(p[2])) for each, p in zip(free, said, strict=True)}
    labels = [each.label for each in known]
    chosen = choose(given, labels, threshold=threshold, most=100, share=0.25, seed=seed)
    added = [replace(each, label=chosen[each.thread_id]) for each in free if each.thread_id in chosen]
    models = (teacher, train([*known, *added]))
    return len(added), [
        _confusion(model.log_probabilities([e.post for e in test]).argmax(axis=1), test) for model in models
    ]


def _refits(train: Train, split: Split, seed: int) -> dict[str, Predict]:
    mixes = {"before": split.old} | {name: [*split.new, *old] for name, old in _mixes(split, seed).items()}

    def predicts(part: Examples) -> Predict:
        model = train(part)
        return lambda posts: [int(k) for k in model.log_probabilities([e.post for e in posts]).argmax(axis=1)]

    return {name: predicts(part) for name, part in mixes.items()}


class Continued:
    """LoRA adapters of rank 16 on the last layer of the packaged encoder, trained further on several mixes."""

    def __init__(self, examples: Examples) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        torch.set_num_threads(1)
        folder = str(find_encoder(PACKAGE).folder)
        self._model = AutoModel.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._hidden: dict[int, Any] = {}
        for example in examples:
            encoded = tokenizer(whole_text(example.post), truncation=True, max_length=32, return_tensors="pt")
            with torch.no_grad():
                states = self._model(**encoded, output_hidden_states=True).hidden_states
            self._hidden[example.thread_id] = states[-2][0]

    def variants(self, split: Split, seed: int) -> dict[str, Predict]:
        """Return the model of October's posts, those trained further from it, and one of all posts from the start."""
        import copy

        start = self._new(seed)
        self._train(start, split.old, seed, epochs=4)
        found = {"before": start}
        for name, old in _mixes(split, seed).items():
            found[name] = copy.deepcopy(start)
            self._train(found[name], [*split.new, *old], seed + 1, epochs=2)
        found["from the base, all"] = self._new(seed)
        self._train(found["from the base, all"], [*split.new, *split.old], seed, epochs=4)
        return {name: self._predicts(model) for name, model in found.items()}

    def _new(self, seed: int) -> Any:
        import copy

        import torch
        from peft import LoraConfig, inject_adapter_in_model

        torch.manual_seed(seed)
        layers = torch.nn.ModuleList(copy.deepcopy(layer) for layer in self._model.encoder.layer[-1:])
        model = torch.nn.ModuleDict({"layers": layers, "head": torch.nn.Linear(self._model.config.hidden_size, 3)})
        model["layers"].requires_grad_(False)
        config = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=["query", "value"])
        model["layers"] = inject_adapter_in_model(config, model["layers"])
        return model

    def _train(self, model: Any, examples: Examples, seed: int, epochs: int) -> None:
        import torch

        weights = class_weights([example.label for example in examples])
        weight = torch.tensor([weights.get(label, 1.0) for label in range(3)], dtype=torch.float32)
        optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        rng = np.random.default_rng(seed)
        model.train()
        for _ in range(epochs):
            order = rng.permutation(len(examples)).tolist()
            for at in range(0, len(order), 16):
                part = [examples[i] for i in order[at : at + 16]]
                loss = torch.nn.functional.cross_entropy(
                    self._logits(model, part), torch.tensor([example.label for example in part]), weight=weight
                )
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()

    def _logits(self, model: Any, examples: Examples) -> Any:
        import torch

        states = [self._hidden[example.thread_id] for example in examples]
        hidden = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
        there = torch.arange(hidden.shape[1])[None] < torch.tensor([len(each) for each in states])[:, None]
        mask = torch.where(there, 0.0, -1e9)[:, None, None, :]
        for layer in model["layers"]:
            hidden = layer(hidden, mask)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        mean = (hidden * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        return model["head"](mean)

    def _predicts(self, model: Any) -> Predict:
        import torch

        def predict(posts: Examples) -> list[int]:
            model.eval()
            with torch.no_grad():
                return [int(k) for k in self._logits(model, posts).argmax(dim=1)]

        return predict


def _mixes(split: Split, seed: int) -> dict[str, list[TextExample]]:
    """Return the old posts that are shown beside the new ones, by the name of the mix."""
    old = [OldPost(each.thread_id, each.label, each.posted_at) for each in split.old]
    mixes = {}
    for share in SHARES:
        again = replay(old, len(split.new), share=share, most=2_000, seed=seed)
        mixes[f"{share:.0%} old"] = [each for each in split.old if each.thread_id in again]
    return mixes | {"all old": split.old}


def _split(examples: Examples, seed: int) -> Split:
    known, test = next(iter(folds(examples, seed)))
    month = [each.posted_at.month if each.posted_at else 0 for each in examples]
    new = [i for i in known if month[i] == 12]
    drawn = np.random.default_rng(seed).permutation(len(new))[:NEW].tolist()
    return Split(
        old=[examples[i] for i in known if month[i] == 10],
        new=[examples[new[i]] for i in drawn],
        old_test=[examples[i] for i in test if month[i] == 10],
        new_test=[examples[i] for i in test if month[i] == 12],
    )


def _pool(examples: Examples) -> list[TextExample]:
    """Return posts that nobody labelled; a near-duplicate of a labelled post has its group."""
    texts: dict[int, tuple[str, str]] = {}
    for line in RECENT.read_text(encoding="utf-8").splitlines():
        each = json.loads(line)
        thread = int(each["id"].rpartition("_")[2])
        subject = "" if each["subject_is_generated"] else each["subject"] or ""
        texts.setdefault(thread, (subject, each["top_quote"] or ""))
    with gzip.open(EARLIER, "rt", encoding="utf-8") as lines:
        threads = [json.loads(line) for line in lines]
    for place in np.random.default_rng(0).permutation(len(threads))[:POSTS_OF_2017].tolist():
        texts[threads[place]["thread_no"]] = ("", threads[place]["lines"][0])
    known = {example.thread_id for example in examples}
    new = [Post(thread, None, subject, text, None) for thread, (subject, text) in texts.items() if thread not in known]
    old = [Post(e.thread_id, e.posted_at, e.post.subject, e.post.text, None) for e in examples]
    groups = duplicate_groups([*old, *new])
    same = {groups[example.thread_id]: example.group for example in examples}
    return [
        TextExample(
            p.thread_id,
            None,
            scorer.Post(p.subject or "", p.text or ""),
            0,
            same.get(groups[p.thread_id], -p.thread_id),
        )
        for p in new
        if (p.subject or "") + (p.text or "")
    ]


def _accuracy(predict: Predict, posts: Examples) -> float:
    return statistics.fmean(said == post.label for said, post in zip(predict(posts), posts, strict=True))


def _confusion(said: Any, posts: Examples) -> Any:
    table = np.zeros((3, 3))
    np.add.at(table, ([post.label for post in posts], said), 1)
    return table


def _metrics(table: Any) -> tuple[float, float]:
    return float(accuracy(table[None])[0]), float(macro_f1(table[None])[0])


def _error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))
