"""The code location: puts assets, resources, jobs and schedules together. It alone here imports Dagster."""

import gc
import warnings
from typing import Any

import dagster as dg

from assets import auto_label_checks, checks, dataset_checks, label_checks, trust_checks
from assets.auto_labels import auto_labels
from assets.catalog_snapshot import catalog_snapshot
from assets.champion_model import champion_model
from assets.cryptobert_adapter import cryptobert_adapter
from assets.human_labels import human_labels
from assets.indexes import indexes
from assets.label_queue import label_queue
from assets.maintenance import maintenance as maintenance_asset
from assets.model_evaluation import model_evaluation
from assets.model_release import model_release
from assets.prices import coin_prices, reference_index
from assets.qlora_adapter import qlora_adapter
from assets.scored_posts import scored_posts
from assets.setfit_model import setfit_model
from assets.sharegpt_dataset import sharegpt_dataset
from assets.text_models import minilm_model, text_ensemble, tfidf_model
from assets.thumbnails import thumbnails
from assets.warosu_posts import warosu_posts
from bizcharts_pipeline.present import Witnesses
from bizcharts_pipeline.private import make_private
from bizcharts_pipeline.settings import Settings, load_settings
from jobs.collection import fetch_prices, fetch_reference_index, fetch_thumbnails
from jobs.labelling import collect_auto_labels, labelling
from jobs.live import history, live
from jobs.maintenance import maintenance
from jobs.training import training, training_qlora
from resources.active_learning import ActiveLearning
from resources.auto_labelling import SECTIONS, AutoLabelling
from resources.console_log import console_log
from resources.fear_greed import FearGreed
from resources.fourchan import Fourchan
from resources.from_settings import from_settings
from resources.images import Images
from resources.labelling import Labelling
from resources.model_releases import ModelReleases
from resources.pods import RunPodResource
from resources.prices import Prices
from resources.retention import Retention
from resources.scorers import Scorers
from resources.training import Training
from resources.warehouse import Warehouse
from resources.warosu import Warosu
from schedules.pods import pods_reaped
from schedules.schedules import (
    auto_label_batches_every_15_minutes,
    history_hourly,
    live_every_minute,
    maintenance_daily,
    prices_every_5_minutes,
    reference_index_daily,
    thumbnails_every_5_minutes,
    warosu_daily,
)
from schedules.sensors import dead_runs

make_private()  # every run, and what the code server starts
# Backfill policies work and have for years; every run would say on stderr that they are called beta.
warnings.filterwarnings("ignore", message=".*backfill_policy.*", category=dg.BetaWarning)


def resources(settings: Settings) -> dict[str, dg.ResourceDefinition]:
    """Return the resources that the assets ask for by name. Run config cannot change them."""
    witnesses = Witnesses.of(settings)
    configured: dict[str, dg.ConfigurableResource[Any]] = {
        "warehouse": Warehouse(
            database=str(settings.database_path),
            home=str(settings.home_path),
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
        "model_releases": ModelReleases(home=str(settings.home_path), **settings.ml.release.model_dump()),
        "active_learning": ActiveLearning(values=settings.ml.active_learning.model_dump()),
        "scorers": Scorers(home=str(settings.home_path)),
        "fear_greed": FearGreed(values=settings.fear_greed.model_dump()),
    }
    return {name: from_settings(resource) for name, resource in configured.items()}


@dg.definitions
def definitions() -> dg.Definitions:
    settings = load_settings()
    return dg.Definitions(
        assets=[
            catalog_snapshot,
            warosu_posts(settings.archive_start),
            thumbnails,
            coin_prices,
            reference_index,
            scored_posts,
            indexes,
            human_labels,
            auto_labels,
            label_queue,
            sharegpt_dataset,
            tfidf_model,
            minilm_model,
            text_ensemble,
            setfit_model,
            cryptobert_adapter,
            qlora_adapter,
            model_evaluation,
            champion_model,
            model_release,
            maintenance_asset,
        ],
        asset_checks=dg.load_asset_checks_from_modules(
            [checks, label_checks, auto_label_checks, trust_checks, dataset_checks]
        ),
        resources=resources(settings),
        jobs=[
            live,
            history,
            labelling,
            collect_auto_labels,
            training,
            training_qlora,
            fetch_thumbnails,
            fetch_prices,
            fetch_reference_index,
            maintenance,
        ],
        schedules=[
            live_every_minute,
            warosu_daily,
            thumbnails_every_5_minutes,
            prices_every_5_minutes,
            reference_index_daily,
            history_hourly,
            maintenance_daily,
            auto_label_batches_every_15_minutes,
        ],
        sensors=[dead_runs, pods_reaped],
        loggers={"console": console_log},
        # No stage has steps to run side by side; a process a step would double the cost of a tick.
        executor=dg.in_process_executor,
    )


# What is imported by now lives as long as the process. The collector need not walk through it again and again, nor take
# it apart at the end: of a minutely run of 2.6 s that is 0.6 s.
gc.freeze()
