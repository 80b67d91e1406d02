"""The model whose scores are published."""

from typing import Annotated, Any

import dagster as dg
from pydantic import Field
from pydantic.functional_validators import AfterValidator

from assets.reporting import Stopwatch, table
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.warehouse.model_previews import previews
from bizcharts_pipeline.warehouse.models import champion
from resources.training import Training
from resources.warehouse import Warehouse


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


# Dagster allows run config to name an environment variable for a `str`, so a key could be stored as a reason.
Text = Annotated[Any, AfterValidator(_text)]


class ChampionConfig(dg.Config):
    """A manual decision that replaces the gate's."""

    override: Text = Field("", description="Model version to promote by hand; empty: the gate decides.")
    who: Text = Field("", description="Name of the person who decides; required with `override`, and stored.")
    reason: Text = Field("", description="Reason; required with `override`, and stored.")


@dg.asset(
    deps=["model_evaluation"],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "duckdb"},
    description=(
        "The model whose scores are published. A candidate is promoted only if it is significantly better than the "
        "champion and the baselines on gold; a winner that trains on this machine is then refitted on all labels. "
        "What a switch would change is measured before it, on the posts of the last days, and stored in "
        "`model_previews`; one that would move the index by much waits for a person. A vision model is asked for it on "
        "the server of `[vision]`, within its `usd_per_day`. "
        "A person may override the gate, with a name and a reason. Every decision is stored in `model_decisions`."
    ),
)
def champion_model(
    context: dg.AssetExecutionContext, config: ChampionConfig, warehouse: Warehouse, training: Training
) -> dg.MaterializeResult:
    from bizcharts_pipeline.models.preview import changed_most, in_words

    stopwatch = Stopwatch()
    database = warehouse.open_at(utc_now())
    if config.override:
        with stopwatch("override"):
            training.override(database, config.override, who=config.who, reason=config.reason, now=utc_now())
        decided: dict[str, Any] = {"overridden_by": config.who, "reason": config.reason}
    else:
        with stopwatch("decide"):
            decisions = training.decide(database, utc_now(), context.run.run_id)
        lines = [
            f"- **{each.model_version}**{' becomes champion' if each.promoted else ''}: {each.reason}"
            for each in decisions
        ]
        decided = {"decisions": dg.MetadataValue.md("\n".join(lines) or "There is no candidate.")}
    with stopwatch("look back"), database.read() as connection:
        present, previewed = champion(connection), previews(connection)[-1:]
    shown = {
        "newest_preview": in_words(previewed[0]) if previewed else "none yet",
        "posts_that_changed_most": table(changed_most(previewed[0])) if previewed else "none yet",
    }
    return dg.MaterializeResult(
        data_version=dg.DataVersion(present.model_version if present else "none"),
        metadata={
            "model_version": present.model_version if present else "none yet: the lexicon, once a post is scored",
            **decided,
            **shown,
            **stopwatch.metadata(),
        },
    )
