"""A vision champion's passes, killed with SIGKILL while the server answers with faults: each post scored, none paid for
twice but those whose answer nobody saw."""

import time
from decimal import Decimal
from pathlib import Path

import pytest
from forked import ForkedProcess, run_script
from installation import REPOSITORY
from vision_world import KIND, NOON, VisionWorld, post, serving

from bizcharts_pipeline.demo.label_apis.wire import LabelFault

WORKER = REPOSITORY / "tests" / "scoring" / "score_worker.py"
FAULTS = tuple(
    LabelFault(name)
    for name in ("429", "500", "503", "reset", "hang", "lost", "broken body", "refusal", "empty", "malformed")
)
PASSES = 40
SECONDS = 300
CAP = Decimal(2)


def start(world: VisionWorld) -> ForkedProcess:
    """Start a pass over all posts."""
    vision = world.place.vision
    variables = {f"BIZCHARTS_VISION__{name.upper()}": str(value) for name, value in vision.model_dump().items()}
    environment = world.environment(NOON) | variables
    return ForkedProcess(run_script, [str(WORKER)], folder=REPOSITORY, environment=environment, merged=True)


def kill_at(world: VisionWorld, requests: int) -> None:
    """Kill a pass as soon as the server has got so many more requests."""
    before, process = len(world.server.requests), start(world)
    while process.poll() is None and len(world.server.requests) < before + requests:
        time.sleep(0.002)
    assert process.poll() is None, "the pass ended before it could be killed"
    process.kill()
    process.communicate()


def survive(world: VisionWorld, posts: int, fault_rate: float) -> None:
    """Score ``posts`` posts through faults and two kills, and check all that is promised."""
    texts = {n: f"{'we are so back' if n % 3 else 'it is over'}, post number {n}" for n in range(1, posts + 1)}
    post(world.database, texts)
    world.charge(Decimal(5))
    world.usd_per_day, world.timeout_seconds, world.server.retry_after = CAP, 0.7, "0"
    world.server.rates = dict.fromkeys(FAULTS, fault_rate)
    for share in (5, 3):
        kill_at(world, posts // share)
    for _ in range(PASSES):
        process = start(world)
        output, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, output
        if not world.waiting:
            break
    assert not world.waiting
    assert set(world.methods) == set(texts)
    counted = world.counted()
    assert set(counted) <= {(KIND, None), (world.fallback, None)}
    assert counted[KIND, None] > posts * (1 - 5 * fault_rate)
    bill, books = world.server.bill(), world.books
    assert books.known_usd <= bill.usd <= books.usd <= CAP
    assert books.open == 0
    # Every billed request beyond a post's first is one whose answer did not arrive or was no answer.
    assert bill.paid_twice <= bill.hung + bill.lost + books.orphaned + posts * 3 * fault_rate
    before = len(world.server.requests)
    world.score(None)
    assert len(world.server.requests) == before


@pytest.mark.slow
@pytest.mark.fault(
    "SIGKILL", stage="vision scoring", expected="each post scored; none paid twice but those whose answer nobody saw"
)
@pytest.mark.fault("dropped network", stage="vision scoring", expected="each post scored, within the cap")
@pytest.mark.fault("slow network", stage="vision scoring", expected="each post scored, within the cap")
def test_two_kills_and_faults_lose_no_post_and_pay_for_none_twice(tmp_path: Path) -> None:
    with serving() as server:
        survive(VisionWorld(tmp_path, server), 300, 0.01)


@pytest.mark.acceptance
def test_five_thousand_posts_through_faults_and_two_kills(tmp_path: Path) -> None:
    with serving() as server:
        survive(VisionWorld(tmp_path, server), 5_000, 0.01)
