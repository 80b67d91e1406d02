"""A vision champion on a serverless worker: jobs, cold starts, lost answers, and what is booked for them."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from vision_world import KIND, NOON, post
from worker_world import WorkerWorld, worker_world

from bizcharts_pipeline.autolabel.budget import BudgetSpent, Caps
from bizcharts_pipeline.autolabel.cost import Size
from bizcharts_pipeline.autolabel.keys import Inquiry, Run
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.autolabel.ledger_batches import batches, mark_running, open_batch
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.money import in_usd, nano_usd
from bizcharts_pipeline.demo.label_apis.wire import LabelFault
from bizcharts_pipeline.demo.pods.faults import PodFault, PodFaults
from bizcharts_pipeline.endpoints.ledger import EndpointRow
from bizcharts_pipeline.endpoints.queue import Job, Queue
from bizcharts_pipeline.pods.errors import AccessDenied, PodError, Uncertain, Unsent
from bizcharts_pipeline.pods.providers.rest import Busy
from bizcharts_pipeline.scoring import jobs, vision
from bizcharts_pipeline.scoring.jobs import billed_ms, longest_ms, worker_terms
from bizcharts_pipeline.training.onpod.queue_worker import Worker

WORDS = {n: f"{'sell it all' if n % 2 else 'we are so back'}, number {n}" for n in range(1, 9)}
SECOND = Decimal("1.12") / 3600  # USD of a worker


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerWorld]:
    with worker_world(tmp_path, monkeypatch) as world:
        yield world


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerWorld]:
    """A world whose clock leaves some seconds until a job is deleted."""
    with worker_world(tmp_path, monkeypatch, speed=4) as world:
        world.serverless.start_seconds = 0.5
        yield world


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "PAUSE", timedelta(0))
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.05)


def check_books(world: WorkerWorld) -> None:
    """The ledger has the bill, rounded up by two seconds of each worker at most, where nothing was lost."""
    bill = world.until_stopped()
    cost = world.cost
    assert cost.assumed_usd == 0
    assert bill <= cost.usd <= bill + 2 * SECOND * len(world.serverless.lives)


def test_posts_are_scored_in_one_job_and_the_ledger_has_the_workers_bill(world: WorkerWorld) -> None:
    post(world.database, WORDS)
    assert world.score().methods == {KIND: len(WORDS)}
    assert len(world.serverless.endpoints[0].jobs) == 1
    check_books(world)
    assert world.cost.posts == len(WORDS)
    assert world.score(None).scored == 0
    assert len(world.serverless.answered) == len(set(world.serverless.answered)) == len(WORDS)


@pytest.mark.slow
def test_a_cold_start_makes_nobody_wait_and_its_job_is_collected_by_the_next_tick_and_paid_once(
    slow: WorkerWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = slow
    world.timeout_seconds = 0.1
    world.serverless.ready.clear()
    post(world.database, WORDS)
    with caplog.at_level(logging.WARNING):
        assert world.score().methods == {world.fallback: len(WORDS)}
    assert "a job has not ended yet; its answers are collected later" in caplog.text
    assert set(world.waiting.values()) == {"endpoint"}
    post(world.database, {20: "a later one"})
    world.score()  # sends none while the worker starts
    assert len(world.serverless.endpoints[0].jobs) == 1
    world.serverless.ready.set()
    while world.serverless.answered == []:
        world.serverless._closed.wait(0.02)
    world.score()
    assert {method for n, method in world.methods.items() if n != 20} == {KIND}
    world.score()
    assert set(world.methods.values()) == {KIND}
    assert len(world.serverless.answered) == len(set(world.serverless.answered)) == len(WORDS) + 1
    check_books(world)


def test_history_goes_in_jobs_of_a_hundred_and_waits_for_them(world: WorkerWorld) -> None:
    world.seconds_per_tick = None
    texts = {n: f"post number {n}" for n in range(1, 251)}
    post(world.database, texts)
    assert world.score(None).methods == {KIND: 250}
    assert len(world.serverless.endpoints[0].jobs) == 3
    check_books(world)
    assert world.cost.usd_per_thousand == 1000 * world.cost.usd / 250


def test_a_tick_is_not_held_up_by_the_jobs_of_history(world: WorkerWorld) -> None:
    post(world.database, {1: WORDS[1]})
    run = Run("history", NOON)
    version = vision._version(world.version, vision.scoring_prompt())
    question = version.question("one of history's", None)
    with AutoLabelLedger(world.home / "ledgers" / "scores.sqlite") as ledger, ledger.working(run):
        ledger.use_prompt(vision.scoring_prompt(), NOON)
        ledger.register(version, [Inquiry(99, (question,))], NOON)
        size, terms, caps = Size(0, False, 1, 1.0), worker_terms(world.endpoint), Caps(None, None)
        run_key, _ = open_batch(ledger, version, run, [question], [size], terms, caps, 0.0)
        mark_running(ledger, run_key, f"{world.endpoint.endpoint_id}/its-own", utc_now())
        assert world.score().methods == {KIND: 1}
        assert [batch.run_key for batch in batches(ledger, version, "running")] == [run_key]
    post(world.database, {2: WORDS[2]})
    world.score()  # when that run has ended, the job is looked up; the queue does not know it
    with AutoLabelLedger(world.home / "ledgers" / "scores.sqlite") as ledger:
        assert batches(ledger, version, "running") == []


@pytest.mark.slow
def test_a_worker_that_was_stopped_starts_again_and_each_start_is_booked(world: WorkerWorld) -> None:
    for n in WORDS:
        post(world.database, {n: WORDS[n]})
        assert world.score().methods == {KIND: 1}
        if n % 2:
            world.until_stopped()
    assert len(world.serverless.lives) > 3
    check_books(world)


@pytest.mark.parametrize("fault", [PodFault.JOB_FAILS, PodFault.JOB_HANGS, PodFault.JOB_RETRIED])
def test_a_failed_retried_or_hanging_job_counts_in_full_and_its_posts_are_sent_again(
    world: WorkerWorld, fault: PodFault
) -> None:
    world.timeout_seconds = 10
    post(world.database, WORDS)
    world.control.fail_next(fault)
    for _ in range(3):
        world.score()
    check_one_lost(world)


@pytest.mark.slow
def test_a_job_whose_result_was_not_kept_counts_in_full_and_its_posts_are_sent_again(slow: WorkerWorld) -> None:
    slow.timeout_seconds = 0.1
    slow.serverless.ready.clear()
    post(slow.database, WORDS)
    slow.control.fail_next(PodFault.JOB_FORGOTTEN)
    slow.score()
    slow.serverless.ready.set()
    slow.until_stopped()
    slow.timeout_seconds = 10
    for _ in range(2):
        slow.score()
    check_one_lost(slow)


def check_one_lost(world: WorkerWorld) -> None:
    """One job was booked in full, and all posts are answered."""
    assert set(world.methods.values()) == {KIND}
    assert not world.waiting
    assert world.until_stopped() <= world.cost.usd
    assert world.cost.assumed_usd == longest_usd(world)


def longest_usd(world: WorkerWorld) -> Decimal:
    """The most that a job may cost, as the ledger rounds it up."""
    return in_usd(nano_usd(longest_ms(world.endpoint) * SECOND / 1000))


@pytest.mark.slow
@pytest.mark.parametrize("fault", [PodFault.RUN_FAILS, PodFault.RUN_LANDS, PodFault.RUN_HANGS])
def test_a_job_whose_receipt_is_not_known_counts_in_full_but_is_not_the_posts_fault(
    world: WorkerWorld, fault: PodFault
) -> None:
    post(world.database, WORDS)
    for _ in range(4):
        world.control.fail_next(fault)
        world.score()
    assert set(world.waiting.values()) == {"endpoint"}
    world.score()
    assert set(world.methods.values()) == {KIND}
    assert world.until_stopped() <= world.cost.usd
    assert world.cost.assumed_usd == 4 * longest_usd(world)


def test_after_three_failed_jobs_no_more_are_sent_for_a_while(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vision, "PAUSE", timedelta(minutes=10))
    post(world.database, WORDS)
    for _ in range(5):
        world.control.fail_next(PodFault.RUN_FAILS)
        with caplog.at_level(logging.WARNING):
            world.score()
    assert "none of its last 3 jobs was answered" in caplog.text
    assert world.cost.usd == 3 * longest_usd(world)


def test_the_worker_can_be_warmed_up_and_that_is_booked_as_any_start(world: WorkerWorld) -> None:
    with vision.jobs_of(world.home, world.vision, world.endpoint) as sent:
        assert sent.warm().delay_ms
    assert world.cost.posts == 0
    post(world.database, WORDS)
    world.score()
    check_books(world)
    world.usd_per_day = Decimal("0.01")
    with vision.jobs_of(world.home, world.vision, world.endpoint) as sent, pytest.raises(BudgetSpent):
        sent.warm()


@pytest.mark.parametrize("error", [Busy("429", None), Unsent("refused"), Uncertain("500"), AccessDenied("401")])
def test_a_start_that_was_sent_is_never_booked_as_free(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch, error: PodError
) -> None:
    answers = iter([error])
    status = Queue.status

    def once(queue: Queue, job_id: str) -> Job | None:
        for failure in answers:
            raise failure
        return status(queue, job_id)

    monkeypatch.setattr(Queue, "status", once)
    with vision.jobs_of(world.home, world.vision, world.endpoint) as sent:
        if isinstance(error, AccessDenied):
            with pytest.raises(AccessDenied):
                sent.warm()
            assert world.cost.usd == longest_usd(world)
        else:
            sent.warm()
            check_books(world)


def test_a_worker_that_stops_late_is_booked_with_its_idle_time() -> None:
    row = EndpointRow("a", "model", "id", Decimal("1.12"), idle_seconds=5, start_seconds=60, job_seconds=60)

    def cost(idle_ms: int | None) -> int | None:
        return billed_ms(Job("1", "COMPLETED", 2_000, 3_000, output={"idle_ms": idle_ms}), row)

    assert (cost(None), cost(4_000), cost(20_000), cost(90_000)) == (11_000, 7_000, 26_000, 11_000)


def test_the_key_is_sent_to_runpod_alone_and_reaches_no_ledger(
    world: WorkerWorld, caplog: pytest.LogCaptureFixture
) -> None:
    post(world.database, WORDS)
    world.control.fail_next(PodFault.RUN_FAILS)
    world.score()
    world.score()
    for file in (world.home / "ledgers").iterdir():
        assert not file.is_file() or world.control.key.encode() not in file.read_bytes()
    assert world.control.key not in caplog.text


def test_a_job_that_was_refused_costs_nothing(world: WorkerWorld) -> None:
    post(world.database, WORDS)
    world.control.fail_next(PodFault.RUN_429)
    world.score()
    assert set(world.waiting.values()) == {"endpoint"}
    assert world.cost.usd == 0
    assert world.score().methods == {KIND: len(WORDS)}
    check_books(world)


@pytest.mark.slow
def test_the_days_cap_is_never_passed_and_the_rest_waits_for_the_budget(world: WorkerWorld) -> None:
    world.usd_per_day = Decimal("0.07")  # one job may cost 0.058 until it has ended
    for n in range(1, 30):
        post(world.database, {n: f"post number {n}"})
        world.score()
        world.until_stopped()
        if "budget" in world.waiting.values():
            break
    assert "budget" in world.waiting.values()
    assert 1 < world.cost.posts < 29
    assert world.serverless.bill() <= world.cost.usd <= world.usd_per_day
    world.usd_per_day = Decimal(5)
    world.score()
    assert set(world.methods.values()) == {KIND}


def test_what_the_model_refuses_and_what_it_cannot_answer_is_the_fallbacks_for_good(world: WorkerWorld) -> None:
    faults = {"number 1": LabelFault.REFUSAL, "number 2": LabelFault.SERVER_ERROR}
    world.server.fault_of = lambda text: faults.get(text[-8:])
    post(world.database, WORDS)
    for _ in range(4):
        world.score()
    assert {n for n, method in world.methods.items() if method == world.fallback} == {1, 2}
    assert not world.waiting
    answered = len(world.serverless.answered)
    world.score(None)
    assert len(world.serverless.answered) == answered


@pytest.mark.slow
def test_a_worker_with_a_fault_or_another_image_decides_nothing(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    post(world.database, WORDS)
    right = world.serverless._answer
    world.serverless._answer = lambda body: (500, {"error": {"message": "out of memory"}})
    for _ in range(4):
        with caplog.at_level(logging.WARNING):
            world.score()
    assert "a job has no answer to any post: 500: out of memory" in caplog.text
    handled = Worker.__call__
    monkeypatch.setattr(Worker, "__call__", lambda self, job: {"text": "hello"})
    for _ in range(4):
        with caplog.at_level(logging.WARNING):
            world.score()
    assert "is `image` of [endpoint] the one of deploy/serverless?" in caplog.text
    assert world.counted() == {(world.fallback, "endpoint"): len(WORDS)}
    monkeypatch.setattr(Worker, "__call__", handled)
    world.serverless._answer = right
    world.until_stopped()
    assert world.score().methods == {KIND: len(WORDS)}
    assert world.until_stopped() <= world.cost.usd


def test_a_worker_of_another_model_and_an_unknown_one_get_no_post(
    world: WorkerWorld, caplog: pytest.LogCaptureFixture
) -> None:
    post(world.database, WORDS)
    deployed = world.endpoint
    world.endpoint = replace(deployed, endpoint_id="another")
    with caplog.at_level(logging.WARNING):
        world.score()
    assert "no worker another is deployed here; run `bizcharts endpoint deploy`" in caplog.text
    assert set(world.waiting.values()) == {"model"}
    world.server.openai.adapters.clear()
    world.endpoint = deployed
    with caplog.at_level(logging.WARNING):
        world.score(None)
    assert "the name under which the server has the adapter" in caplog.text
    assert set(world.waiting.values()) == {"endpoint"}


def test_the_cost_of_a_job_follows_from_its_times(world: WorkerWorld) -> None:
    row = replace(world.endpoint, idle_seconds=5)
    job = Job("j", "COMPLETED", delay_ms=9_000, execution_ms=700, output={"answers": {}, "idle_ms": None})
    assert billed_ms(job, row) == 9_000 + 700 + 5_000 + 1_000
    assert billed_ms(replace(job, output={"answers": {}, "idle_ms": 400}), row) == 1_100
    assert billed_ms(replace(job, output={"answers": {}, "idle_ms": 60_000}), row) == 9_000 + 700 + 5_000 + 1_000
    for odd in ({"output": {"answers": {}}}, {"retried": True}, {"execution_ms": None}, {"delay_ms": None}):
        assert billed_ms(replace(job, **odd), row) is None  # type: ignore[arg-type]
    for odd in (-1, "0", True, 1e300):
        assert billed_ms(replace(job, output={"answers": {}, "idle_ms": odd}), row) in (None, 15_700)


@pytest.mark.slow
def test_random_faults_lose_no_post_and_pass_no_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = (
        "run_fails",
        "run_lands",
        "run_hangs",
        "run_429",
        "job_fails",
        "job_retried",
        "job_forgotten",
        "slow_start",
    )
    faults = PodFaults(seed=4, hang_seconds=0, **dict.fromkeys(kinds, 0.06))
    with worker_world(tmp_path, monkeypatch, faults, speed=60) as world:
        world.usd_per_day, world.timeout_seconds = Decimal(3), 0.5
        texts = {n: f"post number {n}" for n in range(1, 101)}
        for first in range(1, 101, 10):
            post(world.database, {n: texts[n] for n in range(first, first + 10)})
            world.score()
        for _ in range(40):
            if not world.waiting:
                break
            world.serverless._closed.wait(0.05)
            world.score()
        assert set(world.methods) == set(texts)
        assert not world.waiting
        assert world.until_stopped() <= world.cost.usd <= world.usd_per_day
        assert sum(method == KIND for method in world.methods.values()) > 90
        jobs_before = len(world.serverless.endpoints[0].jobs)
        world.score(None)
        assert len(world.serverless.endpoints[0].jobs) == jobs_before
