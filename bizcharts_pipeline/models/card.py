"""What a released model says of itself, for people and for programs. No post's text is in either."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.sentiment.artifact import Artifact
from bizcharts_pipeline.warehouse.model_evaluations import EvaluationRow
from bizcharts_pipeline.warehouse.models import ModelVersion

_KINDS = {
    "tfidf": "TF-IDF of words and characters, and logistic regression",
    "minilm": "a frozen sentence encoder, and logistic regression on its vectors",
    "setfit": "a sentence encoder tuned on pairs of posts (SetFit), and logistic regression",
    "ensemble": "the geometric mean of several text models",
    "cryptobert": "a LoRA adapter and a new head for CryptoBERT",
    "qlora": "a LoRA adapter for a vision-language model, trained on its 4-bit weights (QLoRA)",
}


@dataclass(frozen=True)
class ModelFacts:
    """A model, and what is known of it."""

    model: ModelVersion
    artifact: Artifact
    learned_from: Mapping[int, int]  # posts by label, 0 to 2
    figures: tuple[EvaluationRow, ...]  # its own on gold, then those of baselines; empty: never judged


def metrics(facts: ModelFacts) -> bytes:
    """Return the figures as JSON."""
    content = {
        "model_version": facts.artifact.model_version,
        "model_sha256": facts.artifact.sha256,
        "learned_from": {stance: facts.learned_from.get(label, 0) for label, stance in enumerate(STANCES)},
        "refit_of": facts.model.refit_of,
        "gold": [asdict(row) for row in facts.figures],
    }
    return (json.dumps(content, indent=1, sort_keys=True, default=str) + "\n").encode()


def model_card(facts: ModelFacts, repository: str) -> str:
    """Return the card in Markdown."""
    artifact = facts.artifact
    posts = ", ".join(f"{facts.learned_from.get(label, 0):,} {stance}" for label, stance in enumerate(STANCES))
    rows = {
        "kind": f"`{artifact.kind}`: {_KINDS.get(artifact.kind, 'a stance model')}",
        "base": f"`{artifact.base_model}` at `{artifact.base_revision}`" if artifact.base_model else "none",
        "learned from": f"{counted(sum(facts.learned_from.values()), 'labelled opening post')} "
        f"of 4chan's /biz/ ({posts})",
        "data set": f"`{artifact.dataset_version}`",
        "code version, seed": f"{artifact.code_version}, {artifact.seed}",
        "trained": _how(facts.model),
        "SHA-256 of `model.json`": f"`{artifact.sha256}`",
    }
    return "\n".join(
        [
            f"# {artifact.model_version}",
            "",
            "Reads the stance (bearish, neutral, bullish) of a /biz/ opening post and gives calibrated probabilities.",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            "",
            "## How good it is",
            "",
            *_figures(facts),
            "",
            "## How it was made",
            "",
            *(f"- {name}: `{json.dumps(value, sort_keys=True)}`" for name, value in sorted(artifact.settings.items())),
            "",
            "## How to use it",
            "",
            "```",
            f"bizcharts models fetch {repository} {artifact.model_version}",
            "```",
            "",
            "Every file is checked against `SHA256SUMS`, `model.json` and this release's name. It is a candidate then; "
            "it scores once it beats your champion on your own gold posts, or you promote it. Weights are safetensors; "
            "nothing in it is executed.",
            "",
            "## Limits",
            "",
            "- It knows the language of one board. Irony, memes and pictures with text mislead it, a text model most.",
            "- The intervals above are wide; differences within them mean nothing.",
            "- Its probabilities are calibrated on posts like those it learned from; a market of another mood may not "
            "be like them.",
            "- What it says is no advice, and no forecast of any price.",
            "- It holds no post. A model of words knows which words posts have, and `trained_on.json` names the "
            "threads it learned from by number, label and hash.",
            "",
        ]
    )


def labels_learned_from(trained_on: bytes) -> dict[int, int]:
    """Return how many posts of each label ``trained_on.json`` names."""
    rows: Sequence[Mapping[str, Any]] = json.loads(trained_on)
    return dict(Counter(int(row["label"]) for row in rows))


def _figures(facts: ModelFacts) -> list[str]:
    if not facts.figures:
        return ["It was not judged on gold posts. Trust it accordingly."]
    own = facts.figures[0]
    lines = [
        f"On {counted(own.n, 'gold post')} (`{own.gold_version[:12]}`) that it did not learn "
        f"from; 95 % intervals by bootstrap.",
        "",
    ]
    if facts.model.refit_of:
        lines[0] = (
            f"Figures of `{facts.model.refit_of}` on {counted(own.n, 'gold post')} "
            f"(`{own.gold_version[:12]}`) that it did not "
            "learn from; 95 % intervals by bootstrap. This model is its refit on all labels, gold too."
        )
    lines += ["| | accuracy | macro-F1 | calibration error | log loss |", "|---|---|---|---|---|"]
    for row in facts.figures:
        accuracy = f"{row.accuracy:.3f} ({row.accuracy_lo:.2f} to {row.accuracy_hi:.2f})"
        macro_f1 = f"{row.macro_f1:.3f} ({row.macro_f1_lo:.2f} to {row.macro_f1_hi:.2f})"
        name = f"**{row.model_version}**" if row is own else row.model_version
        lines.append(f"| {name} | {accuracy} | {macro_f1} | {row.ece:.3f} | {row.log_loss:.3f} |")
    lines += ["", f"| true \\ said | {' | '.join(STANCES)} | recall |", "|---|---|---|---|---|"]
    recalls = (own.recall_bearish, own.recall_neutral, own.recall_bullish)
    for stance, counts, recall in zip(STANCES, own.confusion, recalls, strict=True):
        shown = "" if recall is None else f"{recall:.2f}"
        lines.append(f"| {stance} | {' | '.join(map(str, counts))} | {shown} |")
    return lines


def _how(model: ModelVersion) -> str:
    parts = [f"{model.trained_at:%Y-%m-%d}" if model.trained_at else "at an unknown time"]
    parts += [f"{model.seconds:,.0f} s"] if model.seconds is not None else []
    parts += [model.gpu or "on a CPU"] + ([f"{model.usd:.2f} USD"] if model.usd is not None else [])
    return ", ".join(parts)
