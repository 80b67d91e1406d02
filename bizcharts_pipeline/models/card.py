"""Model card and metrics of a released model. Neither contains the text of a post."""

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
    "image": "logistic regression on colours, kind and text of pictures, and on an NSFW network's last hidden layer",
    "fusion": "text models, the picture, the text in it, and context, pooled; a post without picture by its text alone",
    "cryptobert": "a LoRA adapter and a new head for CryptoBERT",
    "qlora": "a LoRA adapter for a vision-language model, trained on its 4-bit weights (QLoRA)",
}


@dataclass(frozen=True)
class ModelFacts:
    """A model with its training data and metrics."""

    model: ModelVersion
    artifact: Artifact
    learned_from: Mapping[int, int]  # posts by label, 0 to 2
    figures: tuple[EvaluationRow, ...]  # its own on gold, then those of baselines; empty: never evaluated


def metrics(facts: ModelFacts) -> bytes:
    """Return the metrics of a model for its release, as JSON."""
    content = {
        "model_version": facts.artifact.model_version,
        "model_sha256": facts.artifact.sha256,
        "learned_from": {stance: facts.learned_from.get(label, 0) for label, stance in enumerate(STANCES)},
        "refit_of": facts.model.refit_of,
        "gold": [asdict(row) for row in facts.figures],
    }
    return (json.dumps(content, indent=1, sort_keys=True, default=str) + "\n").encode()


def model_card(facts: ModelFacts, repository: str) -> str:
    """Return the model card of a release in Markdown."""
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
            "Predicts calibrated probabilities of the stance (bearish, neutral, bullish) of a /biz/ opening post.",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            "",
            "## Metrics",
            "",
            *_figures(facts),
            "",
            "## Training settings",
            "",
            *(f"- {name}: `{json.dumps(value, sort_keys=True)}`" for name, value in sorted(artifact.settings.items())),
            "",
            "## Usage",
            "",
            "```",
            f"bizcharts models fetch {repository} {artifact.model_version}",
            "```",
            "",
            "Every file is checked against `SHA256SUMS`, `model.json` and this release's name. The model is then a "
            "candidate; it scores once it beats your champion on your own gold posts, or you promote it. Weights are "
            "safetensors; nothing in it is executed.",
            "",
            "## Limits",
            "",
            "- It knows the language of one board. Irony, memes and pictures with text mislead it, a text model most.",
            "- The intervals above are wide; differences within them are not significant.",
            "- Its probabilities are calibrated on posts like its training posts; in another market mood, posts may "
            "differ.",
            "- Its output is neither advice nor a forecast of any price.",
            "- It contains no post. A text model contains words that occur in posts, an ensemble also its training "
            "posts' vectors; `trained_on.json` lists the training threads by number, label and hash.",
            *_transferred(artifact.settings.get("transfer")),
            "",
        ]
    )


def _transferred(file: Mapping[str, Any] | None) -> list[str]:
    """Return what a reader has to know of a labelled file from elsewhere that the model learned from."""
    if file is None:
        return []
    rows = file["bearish"] + file["bullish"]
    return [
        f"- One feature was learned from {counted(rows, 'labelled text')} of another source, the file "
        f"`{file['file']}` (SHA-256 `{file['sha256']}`). The model contains none of them. Whether their licence allows "
        "such a model to be used or passed on was not checked: that is up to whoever does it.",
    ]


def labels_learned_from(trained_on: bytes) -> dict[int, int]:
    """Return for the model card the number of labelled training posts by label in ``trained_on.json``; pseudo-labels
    are none."""
    rows: Sequence[Mapping[str, Any]] = json.loads(trained_on)
    return dict(Counter(int(row["label"]) for row in rows if not row.get("pseudo")))


def _figures(facts: ModelFacts) -> list[str]:
    if not facts.figures:
        return ["It was not evaluated on gold posts; its quality is unknown."]
    own = facts.figures[0]
    lines = [
        f"On {counted(own.n, 'gold post')} (`{own.gold_version[:12]}`) that it did not learn "
        f"from; 95 % intervals by bootstrap.",
        "",
    ]
    if facts.model.refit_of:
        lines[0] = (
            f"Metrics of `{facts.model.refit_of}` on {counted(own.n, 'gold post')} "
            f"(`{own.gold_version[:12]}`) that it did not "
            "learn from; 95 % intervals by bootstrap. This model is its refit on all labels, gold included."
        )
    lines += ["| | accuracy | macro-F1 | calibration error | log loss |", "|---|---|---|---|---|"]
    for row in facts.figures:
        accuracy = f"{row.accuracy:.3f} ({row.accuracy_lo:.2f} to {row.accuracy_hi:.2f})"
        macro_f1 = f"{row.macro_f1:.3f} ({row.macro_f1_lo:.2f} to {row.macro_f1_hi:.2f})"
        name = f"**{row.model_version}**" if row is own else row.model_version
        lines.append(f"| {name} | {accuracy} | {macro_f1} | {row.ece:.3f}{_by_chance(row)} | {row.log_loss:.3f} |")
    lines += ["", f"| true \\ predicted | {' | '.join(STANCES)} | recall |", "|---|---|---|---|---|"]
    recalls = (own.recall_bearish, own.recall_neutral, own.recall_bullish)
    for stance, counts, recall in zip(STANCES, own.confusion, recalls, strict=True):
        shown = "" if recall is None else f"{recall:.2f}"
        lines.append(f"| {stance} | {' | '.join(map(str, counts))} | {shown} |")
    return lines


def _by_chance(row: EvaluationRow) -> str:
    return "" if row.ece_if_calibrated is None else f" (by chance up to {row.ece_if_calibrated:.3f})"


def _how(model: ModelVersion) -> str:
    parts = [f"{model.trained_at:%Y-%m-%d}" if model.trained_at else "at an unknown time"]
    parts += [f"{model.seconds:,.0f} s"] if model.seconds is not None else []
    parts += [model.gpu or "on a CPU"] + ([f"{model.usd:.2f} USD"] if model.usd is not None else [])
    return ", ".join(parts)
