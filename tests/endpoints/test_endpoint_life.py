"""An endpoint from its order to its end: nothing nameless, nothing forgotten, nothing that runs without work."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from installation import REPOSITORY
from vision_world import NOON
from worker_world import WorkerWorld, worker_world

from bizcharts_pipeline.demo.pods.faults import PodFault
from bizcharts_pipeline.endpoints.control import Control, EndpointGone
from bizcharts_pipeline.endpoints.ledger import LEDGER, EndpointLedger
from bizcharts_pipeline.endpoints.life import UnknownEndpoint, delete, deploy, reap, scale
from bizcharts_pipeline.pods.errors import AccessDenied, NotOffered, OrderRefused, Uncertain, WrongSetting
from bizcharts_pipeline.settings import Settings

DEPLOY = """
import sys
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.endpoints import life
from bizcharts_pipeline.endpoints.control import Control
from bizcharts_pipeline.settings import load_settings
life.deploy(load_settings(), sys.argv[1], Control(), utc_now())
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerWorld]:
    with worker_world(tmp_path, monkeypatch) as world:
        yield world


def there(world: WorkerWorld) -> list[str]:
    return [endpoint.endpoint_id for endpoint in world.serverless.endpoints]


def test_an_endpoint_is_deployed_once_at_the_highest_price_of_its_pools_and_with_no_worker(world: WorkerWorld) -> None:
    row = world.endpoint
    assert (row.usd_per_hour, row.state) == (Decimal("1.12"), "deployed")
    assert deploy(world.settings, world.version, Control(), NOON).endpoint_id == row.endpoint_id
    assert there(world) == [row.endpoint_id]
    endpoint = world.serverless.endpoints[0]
    assert endpoint.workers == {"min": 0, "max": 1, "idleTimeout": 5}
    assert (endpoint.body["timeout"], endpoint.body["env"]) == (60_000, {"RUNPOD_INIT_TIMEOUT": "60"})
    assert world.serverless.lives == []


def test_a_wrong_order_is_refused_before_anything_is_created(world: WorkerWorld) -> None:
    chosen = world.settings.endpoint
    for wrong, error in (({"image": ""}, WrongSetting), ({"pools": ("HOPPER_999",)}, NotOffered)):
        settings = world.settings.model_copy(update={"endpoint": chosen.model_copy(update=wrong)})
        with pytest.raises(error):
            deploy(settings, "qlora-other", Control(), NOON)
    assert there(world) == [world.endpoint.endpoint_id]


@pytest.mark.parametrize("fault", [PodFault.CREATE_LANDS, PodFault.CREATE_HANGS])
def test_an_endpoint_whose_order_was_not_answered_is_found_by_its_name(world: WorkerWorld, fault: PodFault) -> None:
    world.control.fail_next(fault)
    row = deploy(world.settings, "qlora-other", Control(), NOON, sleep=lambda seconds: None)
    assert there(world) == [world.endpoint.endpoint_id, row.endpoint_id]
    assert reap(world.settings) is not None
    assert len(there(world)) == 2


def test_an_order_that_failed_creates_nothing_and_says_how_to_continue(world: WorkerWorld) -> None:
    world.control.fail_next(PodFault.CREATE_FAILS)
    with pytest.raises(Uncertain, match="repeat `bizcharts endpoint deploy`"):
        deploy(world.settings, "qlora-other", Control(), NOON, sleep=lambda seconds: None)
    assert there(world) == [world.endpoint.endpoint_id]


def test_a_deployment_that_was_killed_is_adopted_by_the_next_or_reaped(world: WorkerWorld) -> None:
    ledger = EndpointLedger(world.home / LEDGER)
    for round_, ends in enumerate((lambda: deploy(world.settings, "qlora-other", Control(), NOON), lambda: None)):
        before = len(there(world))
        world.control.fail_next(PodFault.CREATE_LANDS)
        variables = world.environment() | {"BIZCHARTS_ENDPOINT__IMAGE": "registry.example/worker:1"}
        process = subprocess.Popen([sys.executable, "-c", DEPLOY, "qlora-other"], cwd=REPOSITORY, env=variables)
        while len(there(world)) == before:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert {row.state for row in ledger.rows()} == {"deployed", "ordered"}
        ends()
        report = reap(world.settings)
        assert report is not None
        assert not report.failed
        assert len(there(world)) == (2 if round_ == 0 else 1)
        if round_ == 0:
            other = next(row for row in ledger.rows() if row.model_version == "qlora-other")
            assert other.state == "deployed"
            delete(world.settings, other.endpoint_id or "", Control(), NOON)


def test_only_this_installations_endpoints_are_reaped_and_none_keeps_a_worker_without_work(world: WorkerWorld) -> None:
    settings, control = world.settings, Control()
    foreign = control.create("someone-elses", settings.endpoint)
    ours = world.serverless.endpoints[0]
    ours.body["workers"] = {"min": 2, "max": 5, "idleTimeout": 5}
    lookalike = control.create(f"{ours.body['name']} -fb", settings.endpoint)
    report = reap(settings)
    assert report is not None
    assert report.ended == (lookalike.endpoint_id,)
    assert there(world) == [world.endpoint.endpoint_id, foreign.endpoint_id]
    assert ours.workers == {"min": 0, "max": 1, "idleTimeout": 5}


def test_an_update_that_fails_leaves_the_endpoint_in_use_deployed_and_the_reaper_leaves_it(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id = world.endpoint.endpoint_id or ""
    chosen = world.settings.endpoint.model_copy(update={"idle_seconds": 1})

    def refuse(*_: object) -> None:
        raise OrderRefused("no such image")

    with monkeypatch.context() as patched:
        patched.setattr(Control, "update", refuse)
        with pytest.raises(OrderRefused):
            deploy(world.settings.model_copy(update={"endpoint": chosen}), world.version, Control(), NOON)
    row = EndpointLedger(world.home / LEDGER).deployed(endpoint_id)
    assert row is not None
    assert row.idle_seconds == world.endpoint.idle_seconds  # the longer one is booked
    report = reap(world.settings)
    assert report is not None
    assert (report.ended, there(world)) == ((), [endpoint_id])


def test_an_interrupted_deletion_is_completed_by_the_reaper(world: WorkerWorld) -> None:
    world.control.fail_next(PodFault.TERMINATE_FAILS)
    with pytest.raises(Uncertain):
        delete(world.settings, world.endpoint.endpoint_id or "", Control(), NOON)
    assert there(world) == [world.endpoint.endpoint_id]
    assert reap(world.settings).ended == (world.endpoint.endpoint_id,)  # type: ignore[union-attr]
    assert there(world) == []
    with pytest.raises(UnknownEndpoint):
        delete(world.settings, world.endpoint.endpoint_id or "", Control(), NOON)


def test_an_endpoint_that_is_gone_at_runpod_can_be_deleted_and_not_scaled(world: WorkerWorld) -> None:
    endpoint_id = world.endpoint.endpoint_id or ""
    Control().delete(endpoint_id)
    with pytest.raises(EndpointGone, match=endpoint_id):
        scale(world.settings, endpoint_id, 1, Control(), NOON)
    delete(world.settings, endpoint_id, Control(), NOON)
    with pytest.raises(UnknownEndpoint):
        delete(world.settings, endpoint_id, Control(), NOON)


def test_scaling_to_nothing_removes_waiting_jobs_and_starts_no_worker(world: WorkerWorld) -> None:
    endpoint_id = world.endpoint.endpoint_id or ""
    assert scale(world.settings, endpoint_id, 0, Control(), NOON).usd_per_hour == Decimal("1.12")
    from bizcharts_pipeline.endpoints.queue import Queue

    job = Queue(endpoint_id).run({"input": {}})
    assert job.waits
    assert scale(world.settings, endpoint_id, 0, Control(), NOON)
    assert world.serverless.lives == []
    ended = Queue(endpoint_id).status(job.job_id)
    assert ended is not None
    assert ended.state == "CANCELLED"
    assert Queue(endpoint_id).status("another") is None
    with pytest.raises(OrderRefused):
        Queue("another").run({"input": {}})


def test_without_a_key_the_reaper_complains_only_while_something_may_exist(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id = world.endpoint.endpoint_id or ""
    with monkeypatch.context() as without:
        without.delenv("RUNPOD_API_KEY")
        with pytest.raises(AccessDenied):
            reap(world.settings)
    delete(world.settings, endpoint_id, Control(), NOON)
    monkeypatch.delenv("RUNPOD_API_KEY")
    assert reap(world.settings) is None


def test_nothing_is_asked_where_no_endpoint_was_ever_ordered(tmp_path: Path) -> None:
    assert reap(Settings(home=tmp_path)) is None


def test_a_ledger_row_is_replaced_by_the_next_of_its_name(world: WorkerWorld) -> None:
    ledger = EndpointLedger(world.home / LEDGER)
    ledger.write(replace(world.endpoint, usd_per_hour=Decimal("0.000001")), NOON)
    assert [row.usd_per_hour for row in ledger.rows()] == [Decimal("0.000001")]
