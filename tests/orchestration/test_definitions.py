"""The code location as Dagster sees it: what others rely on can't change by accident."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from bizcharts_pipeline.definitions import code_location
from bizcharts_pipeline.service.jobs import job_names
from bizcharts_pipeline.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = [
    "pandas",
    "PIL",
    "onnxruntime",
    "pyarrow",
    "torch",
    "transformers",
    "sklearn",
    "scipy",
    "matplotlib",
    "openai",
    "google.genai",
    "httpx2",
    "fastapi",
    "uvicorn",
    "cleanlab",
    "apprise",
    "runpod",
    "arch",
    "statsmodels",
    "bizcharts_pipeline.lab.run",
    "bizcharts_pipeline.drift.run",
    "bizcharts_pipeline.drift.words",
    "bizcharts_pipeline.models.learning_curve",
]
TEXT_MODELS = ("cryptobert_adapter", "minilm_model", "setfit_model", "text_ensemble", "tfidf_model")
PICTURE_MODELS = ("fusion_model", "image_model")


@pytest.fixture(scope="module")
def loaded() -> dg.Definitions:
    return code_location(Settings())


def test_the_command_line_knows_every_job(loaded: dg.Definitions) -> None:
    defined = {job.name for job in loaded.resolve_all_job_defs() if not job.name.startswith("__")}
    assert job_names() == sorted(defined)


def test_asset_keys_groups_and_lineage_are_as_promised(loaded: dg.Definitions) -> None:
    graph = loaded.resolve_asset_graph()
    lineage = {
        key.to_user_string(): sorted(parent.to_user_string() for parent in graph.get(key).parent_keys)
        for key in graph.materializable_asset_keys
    }
    assert lineage == {
        "catalog_snapshot": [],
        "warosu_posts": [],
        "thumbnails": ["catalog_snapshot", "warosu_posts"],
        "coin_prices": [],
        "reference_index": [],
        "scored_posts": ["catalog_snapshot", "champion_model", "image_features", "warosu_posts"],
        "fear_greed_index": ["scored_posts"],
        "coin_sentiment": ["scored_posts"],
        "index_exports": ["coin_sentiment", "fear_greed_index"],
        "backtest_report": ["coin_prices", "coin_sentiment", "fear_greed_index", "reference_index"],
        "alerts": ["coin_sentiment", "fear_greed_index"],
        "maintenance": [],
        "image_features": ["thumbnails"],
        "human_labels": ["catalog_snapshot", "thumbnails", "warosu_posts"],
        "auto_labels": ["human_labels", "thumbnails"],
        "label_queue": ["human_labels", "scored_posts"],
        "sharegpt_dataset": ["auto_labels", "human_labels", "thumbnails"],
        **{key: ["auto_labels", "human_labels"] for key in (*TEXT_MODELS, "learning_curve")},
        **{key: ["auto_labels", "human_labels", "image_features"] for key in PICTURE_MODELS},
        "qlora_adapter": ["sharegpt_dataset"],
        "model_evaluation": sorted(["human_labels", "qlora_adapter", *TEXT_MODELS, *PICTURE_MODELS]),
        "champion_model": ["model_evaluation"],
        "model_release": ["champion_model"],
        "drift_report": ["coin_prices", "human_labels", "scored_posts"],
    }


@pytest.mark.slow
def test_the_whole_code_location_loads_as_the_web_server_loads_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    finished = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_every_asset_says_what_it_is_who_owns_it_and_what_it_runs_on(loaded: dg.Definitions) -> None:
    graph = loaded.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.group_name != "default", key


def test_jobs_select_their_assets_and_none_can_run_for_ever(loaded: dg.Definitions) -> None:
    names = (
        "live",
        "history",
        "fetch_thumbnails",
        "fetch_prices",
        "fetch_reference_index",
        "export_index",
        "backtest",
        "send_alerts",
        "maintenance",
        "labelling",
        "collect_auto_labels",
        "training",
        "training_qlora",
    )
    jobs = {name: loaded.resolve_job_def(name) for name in names}
    selected = {
        name: sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
        for name, job in jobs.items()
    }
    assert selected == {
        "live": ["catalog_snapshot", "coin_sentiment", "fear_greed_index", "scored_posts"],
        "history": ["coin_sentiment", "fear_greed_index", "scored_posts"],
        "fetch_thumbnails": ["image_features", "thumbnails"],
        "fetch_prices": ["coin_prices"],
        "fetch_reference_index": ["reference_index"],
        "export_index": ["index_exports"],
        "backtest": ["backtest_report"],
        "send_alerts": ["alerts"],
        "maintenance": ["drift_report", "maintenance"],
        "labelling": ["auto_labels", "human_labels", "label_queue", "sharegpt_dataset"],
        "collect_auto_labels": ["auto_labels"],
        "training": sorted(
            ["champion_model", "human_labels", "learning_curve", "model_evaluation", *TEXT_MODELS, *PICTURE_MODELS]
        ),
        "training_qlora": ["champion_model", "model_evaluation", "qlora_adapter"],
    }
    for name, job in jobs.items():
        assert int(job.tags["dagster/max_runtime"]) > 0, name


def test_schedules_run_by_themselves_in_utc(loaded: dg.Definitions) -> None:
    schedules = {
        schedule.name: (schedule.cron_schedule, schedule.execution_timezone, schedule.default_status.value)
        for schedule in loaded.schedules or []
        if isinstance(schedule, dg.ScheduleDefinition)
    }
    assert schedules == {
        "live_every_minute": ("* * * * *", "UTC", "RUNNING"),
        "thumbnails_every_5_minutes": ("2-59/5 * * * *", "UTC", "RUNNING"),
        "prices_every_5_minutes": ("*/5 * * * *", "UTC", "RUNNING"),
        "reference_index_daily": ("21 1 * * *", "UTC", "RUNNING"),
        "index_exports_daily": ("27 0 * * *", "UTC", "RUNNING"),
        "warosu_daily": ("31 6,18 * * *", "UTC", "RUNNING"),
        "history_hourly": ("17 * * * *", "UTC", "RUNNING"),
        "maintenance_daily": ("43 4 * * *", "UTC", "RUNNING"),
        "auto_label_batches_every_15_minutes": ("4-59/15 * * * *", "UTC", "RUNNING"),
    }


def test_loading_the_code_location_imports_nothing_heavy() -> None:
    """Every minutely run pays for each import; a transitive one is as dear as a direct one."""
    program = (
        "import sys\n"
        "from bizcharts_pipeline.definitions import definitions\n"
        "definitions().resolve_job_def('live')\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert finished.stdout.strip() == "[]"


def test_the_instance_of_the_repository_loads_with_its_queue_and_its_pools(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "dagster_home" / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        queue = instance.get_concurrency_config()
    assert queue.run_queue_config
    assert queue.run_queue_config.max_concurrent_runs == 6
    assert queue.pool_config.default_pool_limit == 1


def test_folders_of_dagsters_home_are_not_taken_for_the_projects(tmp_path: Path) -> None:
    """Dagster's programs run in its home, where it makes a folder `schedules`."""
    for folder in ("assets", "jobs", "resources", "schedules"):
        (tmp_path / folder).mkdir()
    script = (
        "from bizcharts_pipeline.definitions import definitions\n"
        "all = definitions()\n"
        "print(*(bool(each) for each in (all.assets, all.asset_checks, all.jobs, all.schedules, all.sensors)))"
    )
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    command = [sys.executable, "-c", script]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert said.stdout.split() == ["True"] * 5, said.stderr
