"""`bizcharts endpoint …` and the reaper of the service, as a user meets them."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from vision_world import KIND, NOON, post
from worker_world import WorkerWorld, worker_world

from bizcharts_pipeline.cli.main import bizcharts
from bizcharts_pipeline.endpoints.control import Control
from bizcharts_pipeline.scoring import jobs
from bizcharts_pipeline.warehouse.models import ModelVersion, register_candidate
from resources.pods import RunPodResource


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerWorld]:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.05)
    with worker_world(tmp_path, monkeypatch) as world:
        chosen = {"IMAGE": "registry.example/worker:1", "START_SECONDS": "60", "JOB_SECONDS": "60"}
        for name, value in chosen.items():
            monkeypatch.setenv(f"BIZCHARTS_ENDPOINT__{name}", value)
        monkeypatch.setenv("BIZCHARTS_VISION__ENDPOINT", world.vision.endpoint)
        yield world


def said(*arguments: str) -> Result:
    result = CliRunner().invoke(bizcharts, ["endpoint", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_a_worker_is_deployed_warmed_up_scaled_its_cost_told_and_deleted(world: WorkerWorld) -> None:
    endpoint_id = world.endpoint.endpoint_id
    deployed = said("deploy").output
    assert f'endpoint = "runpod:{endpoint_id}"' in deployed
    assert "$1.12 an hour" in deployed
    assert "ready; the start took" in said("warm").output
    post(world.database, {n: f"post number {n}" for n in range(1, 51)})
    assert world.score().methods == {KIND: 50}
    told = json.loads(said("cost", "--json").output)
    assert [row["posts"] for row in told["periods"]] == [50, 50]
    assert Decimal(told["periods"][0]["usd"]) == world.cost.usd
    assert Decimal(told["periods"][0]["usd_per_thousand"]) == 20 * world.cost.usd
    assert f"{20 * world.cost.usd:.4f}" in said("cost").output
    assert "0 workers at most" in said("scale", "0").output
    assert world.serverless.endpoints[0].workers["max"] == 0
    assert f"deleted {endpoint_id}" in said("delete").output
    assert world.serverless.endpoints == []
    world.until_stopped()


def test_what_cannot_be_done_is_said(world: WorkerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    said("delete")
    with pytest.raises(Exception, match="No endpoint is deployed; run `bizcharts endpoint deploy`"):
        CliRunner().invoke(bizcharts, ["endpoint", "warm"], catch_exceptions=False)
    monkeypatch.delenv("BIZCHARTS_ENDPOINT__IMAGE")
    with pytest.raises(Exception, match="build one from deploy/serverless"):
        CliRunner().invoke(bizcharts, ["endpoint", "deploy"], catch_exceptions=False)
    assert CliRunner().invoke(bizcharts, ["endpoint", "scale", "2"]).exit_code == 2


def test_a_model_that_is_not_registered_gets_no_endpoint_and_one_of_another_version_is_named(
    world: WorkerWorld,
) -> None:
    with world.database.write() as connection:
        for name, kind in (("tfidf-1", "tfidf"), ("qlora-1", KIND)):
            row = ModelVersion(name, kind, None, None, NOON, None, None, "candidate", f"models/{name}", "0" * 64)
            register_candidate(connection, row)
    for version, why in (("qlora-0", "not registered here"), ("tfidf-1", "not a vision model")):
        with pytest.raises(Exception, match=f"{version} is {why}; `bizcharts models list` shows"):
            CliRunner().invoke(bizcharts, ["endpoint", "deploy", "--model", version], catch_exceptions=False)
    assert len(world.serverless.endpoints) == 1
    first = world.endpoint.endpoint_id
    told = said("deploy", "--model", "qlora-1").output
    assert f"{world.version} is still deployed as {first}" in told
    said("delete", "--id", str(first))
    assert "still deployed" not in said("deploy", "--model", "qlora-1").output
    assert len(world.serverless.endpoints) == 1


def test_the_service_reaps_endpoints_beside_pods(world: WorkerWorld) -> None:
    name = world.serverless.endpoints[0].body["name"]
    second = Control().create(f"{name} -fb", world.settings.endpoint)
    resource = RunPodResource.from_settings(world.settings)
    report = resource.reap(lambda run_id: False, 30)
    assert report is not None
    assert second.endpoint_id in report.ended
    assert [endpoint.endpoint_id for endpoint in world.serverless.endpoints] == [world.endpoint.endpoint_id]
    assert said("reap").output == "deleted: none\n"
