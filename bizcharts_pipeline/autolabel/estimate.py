"""Estimate of a labelling run's requests and cost. Sends nothing, opens no image and needs no key."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from bizcharts_pipeline.autolabel import cost
from bizcharts_pipeline.autolabel.keys import Run, Version
from bizcharts_pipeline.autolabel.ledger import LEDGER, AutoLabelLedger
from bizcharts_pipeline.autolabel.materialise import materialise
from bizcharts_pipeline.autolabel.prompt import load_prompt
from bizcharts_pipeline.autolabel.protocol import Endpoint, Prompt
from bizcharts_pipeline.autolabel.questions import may_send, question_text
from bizcharts_pipeline.autolabel.report import Estimate, ProviderEstimate
from bizcharts_pipeline.autolabel.selection import stored_version, waiting_posts
from bizcharts_pipeline.core.money import in_usd
from bizcharts_pipeline.labels.corpus import load_posts
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.auto_labels import FINAL, status_counts
from bizcharts_pipeline.warehouse.database import Database

POSTS_AT_ONCE = 1_000  # held in memory


@dataclass(frozen=True)
class ConfiguredModel:
    """A configured model."""

    name: str
    model: str
    endpoint: Endpoint


def configured_models(settings: Settings) -> list[ConfiguredModel]:
    """Return the configured labelling models, in the order of the settings."""
    models = {
        "openai": ConfiguredModel("openai", settings.openai.model, settings.openai.endpoint),
        "gemini": ConfiguredModel("gemini", settings.gemini.model, settings.gemini.endpoint),
    }
    return [models[name] for name in dict.fromkeys(settings.auto_labels.providers)]


def estimate(database: Database, home: Path, settings: Settings, now: datetime) -> Estimate:
    """Return the estimated number of requests and cost of the next labelling run; ``now`` is naive UTC.

    The requests to a second provider depend on the first one's answers; only those already known are counted.

    Raises:
        AutoLabelError: the ledger or the prompt cannot be used.
        DatabaseError: the database cannot be used.
    """
    prompt = load_prompt(settings.auto_labels.prompt)
    versions = [Version.of(model, prompt) for model in configured_models(settings)]
    with AutoLabelLedger(home / LEDGER) as ledger:
        materialise(ledger, database)
        waiting = [waiting_posts(database, home, settings, ledger, version, versions[0]) for version in versions]
        models = [ledger.models_seen(version, now) for version in versions]
        month = ledger.spent(month=Run("", now).month)
    return Estimate(
        tuple(
            _estimated(database, settings, version, prompt, threads, now, seen)
            for version, threads, seen in zip(versions, waiting, models, strict=True)
        ),
        month,
        settings.auto_labels.usd_per_run,
        settings.auto_labels.usd_per_month,
    )


def _estimated(
    database: Database,
    settings: Settings,
    version: Version,
    prompt: Prompt,
    threads: Sequence[int],
    now: datetime,
    models: Collection[str],
) -> ProviderEstimate:
    """Return the estimate of one provider. ``models`` answered recently; if empty, the requested model is assumed."""
    terms = cost.terms(settings, version.provider, version.endpoint, now.date())
    booked = terms.booked(models or [""])
    with_picture, likely, worst = 0, Decimal(0), 0
    for text, picture in _as_sent(database, settings, threads):
        with_picture += picture
        likely += cost.likely_cost(prompt, text, image=picture, terms=terms)
        worst += cost.worst_case(cost.size(prompt, version.question(text, b"" if picture else None)), booked)
    with database.read() as connection:
        paid = status_counts(connection, stored_version(version))
    return ProviderEstimate(
        version,
        len(threads),
        with_picture,
        sum(count for status, count in paid.items() if status in FINAL),
        likely,
        in_usd(worst),
        1.0 if version.endpoint == "batch" else cost.days(len(threads), terms.limits),
    )


def _as_sent(database: Database, settings: Settings, threads: Sequence[int]) -> Iterator[tuple[str, bool]]:
    """Yield each post's text as it would be sent, and whether its image would be sent too."""
    for first in range(0, len(threads), POSTS_AT_ONCE):
        with database.read() as connection:
            posts = load_posts(connection, threads[first : first + POSTS_AT_ONCE])
        for post in posts:
            picture = settings.auto_labels.images and may_send(post.picture, settings.images)
            yield question_text(post.subject, post.text), picture
