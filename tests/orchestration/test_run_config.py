"""What whoever launches a run can choose, and what the operator alone can."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from assets.champion_model import ChampionConfig
from bizcharts_pipeline.definitions import code_location, resources
from bizcharts_pipeline.settings import Settings

CANARY = "canary-key-of-a-service"


@pytest.fixture(scope="module")
def loaded() -> dg.Definitions:
    return code_location(Settings())


def jobs(loaded: dg.Definitions) -> Iterator[dg.JobDefinition]:
    yield loaded.resolve_implicit_global_asset_job_def()
    yield from (loaded.resolve_job_def(job.name) for job in loaded.jobs or ())


def fields_of(node: Any) -> list[str]:
    return list(getattr(node.definition.config_schema.as_field().config_type, "fields", {}))


def test_no_run_config_changes_a_resource(loaded: dg.Definitions) -> None:
    """Addresses that keys go to, caps of paid jobs, the home and the database are fields of resources."""
    values = {
        ("prices", "coingecko_url"): "http://evil.example",
        ("prices", "contact"): {"env": "COINGECKO_API_KEY"},
        ("model_releases", "api_url"): "http://evil.example",
        ("warehouse", "database"): "/tmp/evil.duckdb",
        ("auto_labelling", "values"): {"auto_labels": {"usd_per_run": "1000000"}},
        ("runpod", "values"): {"usd_per_run": "1000000", "ssh_host": "evil.example"},
        ("runpod", "provider"): "ssh",
        ("training", "values"): {"ml": {"release": {"api_url": "http://evil.example"}}},
        ("io_manager", "base_dir"): "/tmp/evil",
    }
    everything = loaded.resolve_implicit_global_asset_job_def()
    for (resource, field), value in values.items():
        with pytest.raises(dg.DagsterInvalidConfigError, match=f'unexpected config entry "{field}"'):
            dg.validate_run_config(everything, {"resources": {resource: {"config": {field: value}}}})
    for name, resource_definition in resources(Settings()).items():
        for job in jobs(loaded):
            if name in job.resource_defs:
                with pytest.raises(dg.DagsterInvalidConfigError):
                    dg.validate_run_config(job, {"resources": {name: {"config": {"home": "/tmp/evil"}}}})
        assert "Run config cannot change" in str(resource_definition.description)


def test_no_run_config_reads_an_environment_variable_as_text(
    loaded: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINGECKO_API_KEY", CANARY)
    tried = 0
    for job in jobs(loaded):
        for node in job.nodes:
            for field in fields_of(node):
                config = {"ops": {node.name: {"config": {field: {"env": "COINGECKO_API_KEY"}}}}}
                try:
                    accepted = dg.validate_run_config(job, config)
                except dg.DagsterInvalidConfigError as refused:
                    accepted = {"refused": str(refused)}
                assert CANARY not in str(accepted), (job.name, node.name, field)
                tried += 1
    assert tried > 10


def test_run_config_holds_no_choices_but_these(loaded: dg.Definitions) -> None:
    """No address, no path and no cap is among them; a new one belongs here after the same question."""
    job = loaded.resolve_implicit_global_asset_job_def()
    assert {node.name: fields for node in job.nodes if (fields := set(fields_of(node)))} == {
        "scored_posts": {"limit"},
        "indexes": {"scope"},
        "coin_prices": {"history_days"},
        "auto_labels": {"dry_run", "retry_batches", "collect_only"},
        "warosu_posts": {"again"},
        "champion_model": {"override", "who", "reason"},
    }


def test_a_reason_is_text_and_no_name_of_a_variable() -> None:
    assert ChampionConfig(override="model-1", who="ann", reason="better").reason == "better"
    with pytest.raises(ValueError, match="must be text"):
        ChampionConfig(reason={"env": "COINGECKO_API_KEY"})
