"""Real processes against a service on loopback that fails, hangs and bills: killed, resumed, and two at once."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from autolabel_world import LabelWorld, thread
from forked import ForkedProcess, run_script

from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.label_apis.wire import LabelFault

WORKER = Path(__file__).with_name("label_worker.py")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def apis() -> Iterator[SimulatedLabelApis]:
    with SimulatedLabelApis() as apis:
        apis.retry_after = "0.05"
        yield apis


def start(world: LabelWorld, apis: SimulatedLabelApis, **labels: Any) -> ForkedProcess:
    limits = {"requests_per_minute": 1_000_000, "requests_per_day": 1_000_000}
    settings = {
        "home": str(world.home),
        "auto_labels": {"timeout_seconds": 0.7, "most_at_once": 16, **labels},
        "openai": limits,
    }
    environment = {
        **{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
        "OPENAI_BASE_URL": apis.openai_url,
        "OPENAI_API_KEY": "test",
        "PYTHONPATH": str(REPOSITORY),
    }
    return ForkedProcess(run_script, [str(WORKER), json.dumps(settings)], folder=REPOSITORY, environment=environment)


def finish(process: ForkedProcess) -> dict[str, Any]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    result: dict[str, Any] = json.loads(out)
    return result


def wait_until(apis: SimulatedLabelApis, asked: int) -> None:
    deadline = time.monotonic() + 30
    while len(apis.asked) < asked:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.fault(
    "SIGKILL", stage="auto-labels", expected="each post labelled; paid twice only what was asked when the process died"
)
@pytest.mark.fault(
    "slow network", stage="auto-labels", expected="requests that hang are asked again; each post labelled"
)
def test_killed_at_any_moment_every_post_ends_labelled_and_only_what_hung_is_paid_twice(
    world: LabelWorld, apis: SimulatedLabelApis
) -> None:
    posts = 150
    world.put(*(thread(number) for number in range(1, posts + 1)))
    world.database.migrate()
    apis.rates = {LabelFault.RATE: 0.05, LabelFault.SERVER_ERROR: 0.05, LabelFault.HANG: 0.05}
    for kill_at in (20, 90):
        process = start(world, apis)
        wait_until(apis, kill_at)
        process.kill()
        process.communicate(timeout=10)
    killed_with = apis.bill()
    assert killed_with.requests < posts  # it was killed in the middle
    result = finish(start(world, apis))
    assert result["faults"] == []
    statuses = Counter(status for (status,) in world.rows("status"))
    assert statuses == {"labelled": posts}
    bill = apis.bill()
    with world.ledger() as ledger, ledger.reading() as connection:
        spent = ledger.spent()
        assumed = connection.execute("SELECT outcome FROM settlements WHERE basis = 'assumed'").fetchall()
    ended = Counter(outcome for (outcome,) in assumed)
    orphaned, timeouts, failed = ended["orphaned"], ended["timeout"], ended["transient"]
    assert spent.reserved_requests == 0
    assert spent.known_requests == posts
    assert spent.assumed_requests == ended.total() == timeouts + orphaned + failed
    # An orphan was billed, or had not reached the service, or was refused by it; a gateway may fail after the work.
    assert bill.requests <= spent.known_requests + spent.assumed_requests <= bill.requests + orphaned + failed
    assert bill.paid_twice <= timeouts + orphaned
    assert timeouts <= bill.hung <= timeouts + orphaned
    assert spent.known_usd <= bill.usd <= spent.usd
    finish(start(world, apis))
    assert apis.bill() == bill


@pytest.mark.slow
def test_two_processes_at_once_share_the_work_and_the_budget(world: LabelWorld, apis: SimulatedLabelApis) -> None:
    posts = 120
    world.put(*(thread(number) for number in range(1, posts + 1)))
    apis.latency_seconds = 0.02
    cap = "0.008"
    workers = [start(world, apis, usd_per_month=cap, timeout_seconds=30) for _ in range(2)]
    for worker in workers:
        assert finish(worker)["faults"] == []
    bill = apis.bill()
    assert bill.paid_twice == 0
    assert Decimal("0.004") < bill.usd <= Decimal(cap)
    for worker in [start(world, apis, timeout_seconds=30) for _ in range(2)]:
        finish(worker)
    finish(start(world, apis, timeout_seconds=30))  # a request that one had postponed when the other had ended
    assert apis.bill().paid_twice == 0
    assert Counter(status for (status,) in world.rows("status")) == {"labelled": posts}
    with world.ledger() as ledger:
        assert ledger.spent().usd == ledger.spent().known_usd == apis.bill().usd


def test_sdk_free_until_needed() -> None:
    code = (
        "import sys, bizcharts_pipeline.autolabel.run, bizcharts_pipeline.autolabel.materialise\n"
        "print([m for m in ('openai', 'google.genai', 'PIL', 'numpy', 'pandas', 'sklearn') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
