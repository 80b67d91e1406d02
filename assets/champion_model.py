"""The model whose scores are published."""

from typing import Annotated, Any

import dagster as dg
from pydantic import Field
from pydantic.functional_validators import AfterValidator

from assets.reporting import Stopwatch
from bizcharts_pipeline.core.clock import utc_now
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
        "A person may override that, with a name and a reason. Every decision is stored in `model_decisions`."
    ),
)
def champion_model(
    context: dg.AssetExecutionContext, config: ChampionConfig, warehouse: Warehouse, training: Training
) -> dg.MaterializeResult:
    stopwatch = Stopwatch()
    database = warehouse.open()
    if config.override:
        from bizcharts_pipeline.models.promotion import override

        with stopwatch("override"):
            override(
                database, training.home_path(), config.override, who=config.who, reason=config.reason, now=utc_now()
            )
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
        present = champion(connection)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(present.model_version if present else "none"),
        metadata={
            "model_version": present.model_version if present else "none yet: the lexicon, once a post is scored",
            **decided,
            **stopwatch.metadata(),
        },
    )
