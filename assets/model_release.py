"""Release of the champion for other machines."""

from pathlib import Path

import dagster as dg

from assets.reporting import Stopwatch
from resources.model_releases import ModelReleases
from resources.warehouse import Warehouse


@dg.asset(
    deps=["champion_model"],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "github"},
    description=(
        "A GitHub release of the champion: model, model card, metrics and checksums. Off unless `repository` of "
        "[ml.release] is set; idempotent. `bizcharts models fetch` downloads the model from there."
    ),
)
def model_release(warehouse: Warehouse, model_releases: ModelReleases) -> dg.MaterializeResult:
    from bizcharts_pipeline.models.github import GitHub
    from bizcharts_pipeline.models.release import facts_of, release_model
    from bizcharts_pipeline.warehouse.models import champion

    if not model_releases.repository:
        return dg.MaterializeResult(metadata={"released": False, "why": "off: [ml.release] has no repository"})
    with warehouse.open().read() as connection:
        current = champion(connection)
    if current is None or current.path is None:
        return dg.MaterializeResult(metadata={"released": False, "why": "the champion is the built-in lexicon"})
    stopwatch = Stopwatch()
    with stopwatch("release"):
        home = Path(model_releases.home)
        facts = facts_of(warehouse.open(), home, current.model_version)
        release = release_model(GitHub(model_releases.api_url), model_releases.repository, facts, home)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(release.model_version),
        metadata={
            "released": True,
            "model_version": release.model_version,
            "release": dg.MetadataValue.url(release.url),
            "sent": list(release.sent),
            "there": list(release.there),
            **stopwatch.metadata(),
        },
    )
