"""Dagster code location: combines assets, resources, jobs and schedules. The only module here that imports Dagster."""

import gc
import warnings
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import dagster as dg
from dagster import _loggers

from assets.warosu_posts import warosu_posts
from bizcharts_pipeline.core.private import make_private
from bizcharts_pipeline.service.plain_log import install_if_asked
from bizcharts_pipeline.settings import REPOSITORY_ROOT, Settings, load_settings
from bizcharts_pipeline.warehouse.present import Witnesses
from resources.active_learning import ActiveLearning
from resources.alerting import Alerting
from resources.auto_labelling import SECTIONS, AutoLabelling
from resources.console_log import console_log
from resources.fear_greed import FearGreed
from resources.fourchan import Fourchan
from resources.from_settings import from_settings
from resources.images import Images
from resources.labelling import Labelling
from resources.model_releases import ModelReleases
from resources.no_values import no_values
from resources.pods import RunPodResource
from resources.prices import Prices
from resources.retention import Retention
from resources.scorers import Scorers
from resources.training import Training
from resources.warehouse import Warehouse
from resources.warosu import Warosu

make_private()  # for every run, and for processes started by the code server
if install_if_asked():
    # Dagster uses it for runs without a configured logger, such as those that the UI starts for selected assets; the
    # original writes every event with its stack trace to the service's log.
    _loggers.colored_console_logger = console_log
# Backfill policies have worked for years; every run would warn on stderr that they are beta.
warnings.filterwarnings("ignore", message=".*backfill_policy.*", category=dg.BetaWarning)


_AssetJob = type(dg.define_asset_job("any"))  # Dagster does not export the class


def _modules(folder: str) -> list[ModuleType]:
    """Import the modules of a folder of the Dagster project.

    They are listed by the folder's path: Dagster's home, the working directory of its programs, also has a folder
    ``schedules``, which Python would take for the package.
    """
    return [import_module(f"{folder}.{path.stem}") for path in sorted((REPOSITORY_ROOT / folder).glob("[!_]*.py"))]


def _defined(folder: str, kind: type[Any]) -> list[Any]:
    """Return the objects of one kind that the modules of a folder define."""
    found = [value for module in _modules(folder) for value in vars(module).values() if isinstance(value, kind)]
    return list({id(value): value for value in found}.values())  # a module's names include its imports


def resources(settings: Settings) -> dict[str, dg.ResourceDefinition]:
    """Return the resources by name, as the assets request them. Run config cannot change them."""
    witnesses = Witnesses.of(settings)
    configured: dict[str, dg.ConfigurableResource[Any]] = {
        "warehouse": Warehouse(
            database=settings.database_name,
            home=str(settings.home_path),
            files=settings.database_files,
            witnesses=list(witnesses.urls),
            seconds_per_request=witnesses.seconds_per_request,
            contact=witnesses.contact,
            wait_seconds=settings.database_wait_seconds,
        ),
        "fourchan": Fourchan(
            home=str(settings.home_path),
            board=settings.board,
            api_url=settings.fourchan_api_url,
            image_url=settings.fourchan_image_url,
            seconds_per_request=settings.fourchan_seconds_per_request,
            contact=settings.contact,
        ),
        "warosu": Warosu(
            home=str(settings.home_path),
            board=settings.board,
            url=settings.warosu_url,
            image_url=settings.warosu_image_url,
            seconds_per_request=settings.warosu_seconds_per_request,
            contact=settings.contact,
        ),
        "images": Images(
            home=str(settings.home_path),
            board=settings.board,
            api_url=settings.fourchan_api_url,
            image_url=settings.fourchan_image_url,
            archive_image_url=settings.warosu_image_url,
            seconds_per_request=settings.fourchan_seconds_per_request,
            archive_seconds_per_request=settings.warosu_seconds_per_request,
            contact=settings.contact,
            values=settings.images.model_dump(),
        ),
        "prices": Prices(
            home=str(settings.home_path),
            coingecko_url=settings.coingecko_url,
            binance_url=settings.binance_url,
            coinmarketcap_url=settings.coinmarketcap_url,
            alternative_me_url=settings.alternative_me_url,
            contact=settings.contact,
            values=settings.price_data.model_dump(mode="json"),
        ),
        "retention": Retention(home=str(settings.home_path), values=settings.retention.model_dump()),
        "labelling": Labelling(home=str(settings.home_path), values=settings.labelling.model_dump()),
        "auto_labelling": AutoLabelling(
            home=str(settings.home_path), values=settings.model_dump(mode="json", include=set(SECTIONS))
        ),
        "training": Training.from_settings(settings),
        "runpod": RunPodResource.from_settings(settings),
        "alerting": Alerting.from_settings(settings),
        "model_releases": ModelReleases(home=str(settings.home_path), **settings.ml.release.model_dump()),
        "active_learning": ActiveLearning(values=settings.ml.active_learning.model_dump()),
        "scorers": Scorers(
            home=str(settings.home_path),
            vision=settings.vision.model_dump(mode="json"),
            images=settings.images.model_dump(),
        ),
        "fear_greed": FearGreed(values=settings.fear_greed.model_dump()),
    }
    return {name: from_settings(resource) for name, resource in configured.items()}


@dg.definitions
@cache  # a run calls this five times
def definitions() -> dg.Definitions:
    return code_location(load_settings())


def code_location(settings: Settings) -> dg.Definitions:
    """Return all Dagster definitions of one installation."""
    return dg.Definitions(
        assets=[*dg.load_assets_from_modules(_modules("assets")), warosu_posts(settings.archive_start)],
        asset_checks=dg.load_asset_checks_from_modules(_modules("assets")),
        resources=resources(settings) | {"io_manager": no_values},
        jobs=_defined("jobs", _AssetJob),
        schedules=_defined("schedules", dg.ScheduleDefinition),
        sensors=_defined("schedules", dg.SensorDefinition),
        loggers={"console": console_log},
        # No job has parallel steps; a process per step would double the cost of a tick.
        executor=dg.in_process_executor,
    )


# Everything imported so far lives as long as the process, so the garbage collector can skip it, also at exit: that
# saves 0.6 s of 2.6 s in a run every minute.
gc.freeze()
