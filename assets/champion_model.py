"""The model whose scores count."""

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


# Dagster lets run config name an environment variable in place of a `str`: a key could be stored as a reason.
Text = Annotated[Any, AfterValidator(_text)]


class ChampionConfig(dg.Config):
    """Whether a person decides instead of the gate."""

    override: Text = Field("", description="A model version that a person makes the champion; empty: the gate decides.")
    who: Text = Field("", description="Who decides so; needed with `override`, and kept.")
    reason: Text = Field("", description="Why; needed with `override`, and kept.")


@dg.asset(
    deps=["model_evaluation"],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "duckdb"},
    description=(
        "The model whose scores are published. A candidate takes over only if it is significantly better than the "
        "champion and the baselines on gold; a winner that trains on this machine is fitted once more, on all labels. "
        "A person may override that, with a name and a reason. Every decision stays in `model_decisions`."
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
