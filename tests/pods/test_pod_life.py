"""A pod's life, with everything that can go wrong going wrong."""

import random
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pod_world import KEY, PRICE, SETTINGS, START, Control, Killed, World, a_job, install

from bizcharts_pipeline.pods.errors import (
    AccessDenied,
    BadHost,
    Cancelled,
    JobFailed,
    NoCapacity,
    OrderRefused,
    OverBudget,
    PodError,
    Uncertain,
    WrongSetting,
)
from bizcharts_pipeline.pods.lock import JobBusy, hold
from bizcharts_pipeline.pods.protocol import Order, Pod, PodStatus, State
from bizcharts_pipeline.pods.providers.runpod import RunPod
from bizcharts_pipeline.pods.reaper import reap
from bizcharts_pipeline.pods.states import TRANSITIONS
from bizcharts_pipeline.pods.work import Work


@pytest.fixture(autouse=True)
def _in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


# Thousands of commits, each flushed: nothing here asks whether they survive a power cut.
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield World(Path(folder))


def test_a_quiet_life(world: World) -> None:
    finished = world.run()
    states = [state for state, _ in world.told]
    assert list(dict.fromkeys(states)) == [
        State.PLANNED,
        State.CREATING,
        State.BOOTING,
        State.PREFLIGHT,
        State.STAGING,
        State.RUNNING,
        State.COLLECTING,
        State.RELEASING,
        State.RELEASED,
    ]
    assert not world.alive()
    assert (finished.folder / "verified").read_text() == finished.pod_id == "p0"
    assert (finished.pods, finished.reattached) == (1, False)
    # To the billionth of a dollar, the bill's own figure.
    assert 0 <= finished.usd - world.bill() < Decimal("1e-9")
    assert finished.seconds == (world.machines[0].ended_at - START).total_seconds()
    assert world.heard_log.startswith(b"the first line")
    assert world.heard_log.endswith(b"the last line\n")
    assert not list((world.ledger.folder(KEY) / "keys").iterdir())


# Creation.


def _lands_and_fails(world: World, order: Order) -> Pod:
    world.create_pod(order)
    raise Uncertain("502 Bad Gateway")


def _fails(world: World, order: Order) -> Pod:
    raise Uncertain("502 Bad Gateway")


def _lands_later(world: World, order: Order) -> Pod:
    world.create_pod(order, hidden_seconds=7)
    raise Uncertain("504 Gateway Timeout")


def _full(world: World, order: Order) -> Pod:
    raise NoCapacity("There are no longer any instances available")


def _denied(world: World, order: Order) -> Pod:
    raise AccessDenied("401")


def test_a_pod_whose_creation_seemed_to_fail_is_found_by_its_name(world: World) -> None:
    world.create = [_lands_and_fails]
    assert world.run().pod_id == "p0"
    assert len(world.machines) == 1


def test_a_creation_that_failed_is_tried_again_for_the_same_candidate(world: World) -> None:
    world.create = [_fails]
    world.run()
    assert [order.gpu for order in world.orders] == ["A", "A"]


def test_of_two_pods_the_oldest_is_kept_and_the_other_ended_and_said(world: World) -> None:
    def lands_twice(world: World, order: Order) -> Pod:
        world.create_pod(order)
        world.create_pod(order)
        raise Uncertain("502 Bad Gateway")

    world.create = [lands_twice]
    finished = world.run()
    assert finished.pod_id == "p0"
    assert world.machines[1].ended_at == START + timedelta(seconds=2)
    assert any("second pod" in detail for _, detail in world.told)
    assert world.ledger.live("world") == []
    assert finished.usd >= world.bill()


@pytest.mark.parametrize("hidden_seconds", [7, 50, 85])
def test_an_order_that_seemed_to_fail_is_not_repeated_while_its_pod_may_still_be_hidden(
    world: World, hidden_seconds: float
) -> None:
    def lands_later(world: World, order: Order) -> Pod:
        world.create_pod(order, hidden_seconds=hidden_seconds)
        raise Uncertain("504 Gateway Timeout")

    world.create = [lands_later]
    assert world.run().pod_id == "p0"
    assert len(world.machines) == 1


@pytest.mark.parametrize("hidden_seconds", [130, 400, 3_000])
def test_a_pod_that_is_shown_minutes_later_is_ended_while_the_other_works(world: World, hidden_seconds: float) -> None:
    def lands_much_later(world: World, order: Order) -> Pod:
        world.create_pod(order, hidden_seconds=hidden_seconds)
        raise Uncertain("504 Gateway Timeout")

    world.create = [lands_much_later]
    finished = world.run()
    assert (finished.pod_id, finished.pods) == ("p1", 2)
    assert world.machines[1].collected
    late = world.machines[0]
    assert late.terminated
    assert late.ended_at < world.machines[1].ended_at
    assert late.ended_at - late.seen_from < timedelta(minutes=10)
    assert finished.usd >= world.bill()


def test_a_pod_that_lands_when_its_job_is_over_is_found_by_its_name(world: World) -> None:
    def lands_after_the_job(world: World, order: Order) -> Pod:
        world.create_pod(order, hidden_seconds=7_200)
        raise Uncertain("504 Gateway Timeout")

    world.create = [lands_after_the_job]
    world.run()
    world.pass_time(3_700)
    assert [machine.pod.pod_id for machine in world.alive()] == ["p0"]
    report = reap(Control(world), world.ledger, SETTINGS, world.now, lambda run_id: False, world.sleep)
    assert report.ended == ("p0",)
    assert not world.alive()
    assert world.ledger.spent().ended_usd >= world.bill()


@pytest.mark.parametrize("hidden_seconds", [0, 20, 35])
@pytest.mark.parametrize("unknown_seconds", [0, 20, 35])
def test_a_new_pod_that_is_not_shown_yet_is_waited_for(
    world: World, hidden_seconds: float, unknown_seconds: float
) -> None:
    world.hidden_seconds, world.unknown_seconds = hidden_seconds, unknown_seconds
    finished = world.run()
    assert (finished.pods, len(world.machines)) == (1, 1)
    assert 0 <= finished.usd - world.bill() < Decimal("1e-9")


@pytest.mark.parametrize("hidden_seconds", [0, 35])
@pytest.mark.parametrize("unknown_seconds", [0, 10, 35])
@pytest.mark.parametrize("accepts_unknown", [False, True])
def test_a_run_that_is_cancelled_before_its_pod_is_shown_ends_it_all_the_same(
    world: World, hidden_seconds: float, unknown_seconds: float, accepts_unknown: bool
) -> None:
    world.hidden_seconds, world.unknown_seconds = hidden_seconds, unknown_seconds
    world.accepts_unknown = accepts_unknown

    def cancel(what: str) -> None:
        world.stop = bool(world.machines)

    world.before = cancel
    with pytest.raises(Cancelled):
        world.run()
    assert world.machines[0].terminated
    assert world.ledger.live("world") == []
    assert world.ledger.spent().ended_usd >= world.bill()


def test_a_pod_that_is_never_shown_is_given_up_looked_for_again_and_stays_booked_until_then(world: World) -> None:
    def never_shown(world: World, order: Order) -> Pod:
        pod = world.create_pod(order, hidden_seconds=86_400)
        world.machines[-1].known_from = world.machines[-1].seen_from
        return pod

    world.create = [never_shown]
    live: list[int] = []

    def watch(what: str) -> None:
        if what == "terminate":
            live.append(len(world.ledger.live("world")))

    world.before = watch
    finished = world.run()
    assert finished.pod_id == "p1"
    gave_up = world.machines[1].created_at - START
    assert timedelta(seconds=270) <= gave_up < timedelta(minutes=12)
    assert len(live) > 5  # it was told to end again and again
    assert live[0] == 1
    # Nobody can know of it before it is shown; then it is ended, and booked from its order on.
    world.clock = START + timedelta(seconds=86_400)
    world.machines[0].ttl = timedelta(days=7)
    assert reap(Control(world), world.ledger, SETTINGS, world.now, lambda run_id: False, world.sleep).ended == ("p0",)
    assert not world.alive()
    assert world.ledger.spent().ended_usd >= world.bill()


def test_candidates_are_tried_in_their_order(world: World) -> None:
    world.create = [_full, _full, _full]
    world.run()
    assert [(order.gpu, order.cloud) for order in world.orders] == [
        ("A", "COMMUNITY"),
        ("A", "SECURE"),
        ("B", "COMMUNITY"),
        ("B", "SECURE"),
    ]


def test_no_capacity_is_given_up_after_backing_off(world: World) -> None:
    world.create = [_full] * 100
    with pytest.raises(NoCapacity, match="30 min") as caught:
        world.run()
    assert caught.value.retry
    # After 0, 1, 3, 8 and 18 minutes; the next would be after 28.
    assert len(world.orders) == 4 * 6
    assert world.clock - START == timedelta(minutes=28)
    assert world.ledger.live("world") == []
    assert world.ledger.spent().usd == 0


def test_a_refused_key_is_not_tried_again(world: World) -> None:
    world.create = [_denied]
    with pytest.raises(AccessDenied):
        world.run()
    assert len(world.orders) == 1


def test_a_gpu_that_is_missing_in_the_catalogue_does_not_fail_the_search_for_the_others(world: World) -> None:
    world.not_offered = frozenset({"A"})
    assert world.run().gpu == "B"
    world.not_offered = frozenset({"A", "B"})
    before = world.clock
    with pytest.raises(OrderRefused, match=r"'A'.*'B'"):
        world.run(world.home / "second")
    assert world.clock == before


def test_a_key_that_is_refused_for_a_moment_while_a_pod_boots_loses_no_pod(world: World) -> None:
    world.denials = 3
    assert world.run().pods == 1
    assert len(world.machines) == 1
    world.denials = 100
    with pytest.raises(AccessDenied):
        world.run(world.home / "second")
    world.denials = 0
    reap(Control(world), world.ledger, SETTINGS, world.now, lambda run_id: False, world.sleep)
    assert not world.alive()


def test_a_run_that_may_cost_too_much_is_refused_before_anything_is_asked_for(world: World) -> None:
    with pytest.raises(OverBudget, match="usd_per_run"):
        world.run(settings=SETTINGS.model_copy(update={"usd_per_run": 4 * PRICE - Decimal("0.000001")}))
    assert not world.orders
    world.run(settings=SETTINGS.model_copy(update={"usd_per_run": 4 * PRICE}))


@pytest.mark.parametrize("cap", ["usd_per_run", "usd_per_month"])
def test_a_pod_needs_a_key_and_a_cap_of_the_operator(world: World, cap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is run config."""
    with pytest.raises(OverBudget):
        world.run(settings=SETTINGS.model_copy(update={cap: Decimal(0)}))
    assert not world.orders
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    with pytest.raises(AccessDenied, match="set RUNPOD_API_KEY"):
        RunPod("rest")


def test_a_cheaper_candidate_is_taken_where_the_first_is_too_dear(world: World) -> None:
    world.prices = {"A": Decimal(50)}
    assert world.run().gpu == "B"


def test_what_is_left_of_the_month_caps_a_run(world: World) -> None:
    cost = world.run().usd
    left = SETTINGS.model_copy(update={"usd_per_month": cost + 4 * PRICE - Decimal("0.000001")})
    with pytest.raises(OverBudget, match="usd_per_month"):
        world.run(world.home / "second", settings=left)
    world.clock += timedelta(days=31)
    world.run(world.home / "second", settings=left)


def _does_not_tell(world: World, order: Order) -> Pod:
    return world.create_pod(order, told_price=None)


@pytest.mark.parametrize("told_by_order", [True, False])
def test_a_pod_that_is_charged_more_than_the_budget_leaves_is_ended_and_another_candidate_taken(
    world: World, told_by_order: bool
) -> None:
    world.charges = {"A": 8 * PRICE}
    world.create = [] if told_by_order else [_does_not_tell] * 3
    finished = world.run()
    assert (finished.gpu, finished.pods) == ("B", 3)
    assert all(machine.launched == 0 for machine in world.machines[:2])
    assert any("costs $2.88 an hour" in detail for _, detail in world.told)
    assert finished.usd >= world.bill()


@pytest.mark.parametrize("told_by_order", [True, False])
def test_what_a_pod_is_charged_is_booked_and_not_what_was_listed(world: World, told_by_order: bool) -> None:
    world.charges = {"A": PRICE * 2}
    world.create = [] if told_by_order else [_does_not_tell]
    finished = world.run()
    assert finished.pods == 1
    assert 0 <= finished.usd - world.bill() < Decimal("1e-9")


def test_pods_that_are_too_dear_everywhere_fail_the_job_with_the_price_that_is_charged(world: World) -> None:
    world.charges = {"A": 8 * PRICE, "B": 8 * PRICE}
    with pytest.raises(OverBudget, match=r"costs \$2\.88 an hour.*usd_per_run"):
        world.run()
    assert not world.alive()
    assert world.ledger.spent().ended_usd >= world.bill()


def test_retries_of_a_job_together_keep_within_the_cap_of_one_run(world: World) -> None:
    world.exit, world.job_seconds = (-9, "killed"), 3_000
    cap = SETTINGS.model_copy(update={"usd_per_run": 5 * PRICE})
    for _ in range(6):
        with pytest.raises(PodError):
            world.run(settings=cap)
    assert world.bill() <= 5 * PRICE
    with pytest.raises(OverBudget, match="by this job since its last result"):
        world.run(settings=cap)
    # Other data or settings are another job; and once this one has brought its result, it may be done again.
    world.exit = (0, "exited")
    world.run(world.home / "other", settings=cap, job=replace(a_job(), key="f" * 12))
    world.run(world.home / "second", settings=SETTINGS.model_copy(update={"usd_per_run": 12 * PRICE}))
    world.run(world.home / "third", settings=cap)


# Machines.


def test_a_pod_that_never_boots_makes_room_for_another(world: World) -> None:
    world.boot_seconds = None

    def second(what: str) -> None:
        world.boot_seconds = 60 if world.machines else None

    world.before = second
    finished = world.run()
    assert (finished.pods, finished.pod_id) == (2, "p1")
    assert world.machines[0].ended_at - world.machines[0].created_at <= timedelta(minutes=21)
    assert [order.cloud for order in world.orders] == ["COMMUNITY", "SECURE"]


def test_a_bad_machine_is_not_taken_twice(world: World) -> None:
    world.machine_names, world.bad_machines = ["bad", "bad", "good"], {"bad"}
    finished = world.run()
    assert finished.pods == 3
    assert world.calls.count("preflight") == 2  # the second was known before it had booted


def test_a_setting_that_every_pod_refuses_is_paid_for_once(world: World) -> None:
    def refused(what: str) -> None:
        if what == "launch":
            raise WrongSetting("The pod cannot run 'pyhton', the `python` of [pods]")

    world.before = refused
    with pytest.raises(WrongSetting, match="the `python` of") as failed:
        world.run()
    assert not failed.value.retry
    assert len(world.machines) == 1
    assert not world.alive()
    assert world.ledger.spent().ended_usd >= world.bill()


def test_only_so_many_pods_are_used(world: World) -> None:
    world.bad_machines = {f"m{number}" for number in range(10)}
    with pytest.raises(BadHost):
        world.run()
    assert len(world.machines) == SETTINGS.most_pods


# The job.


@pytest.mark.parametrize(
    ("code", "how", "reason"),
    [
        (1, "exited", "failed"),
        (1, "setup", "failed"),
        (3, "exited", "out of memory"),
        (4, "exited", "diverged"),
        (5, "exited", "disk full"),
        (-15, "max_runtime", "max_runtime"),
    ],
)
def test_a_job_that_fails_by_itself_is_not_paid_again(world: World, code: int, how: str, reason: str) -> None:
    world.exit = (code, how)
    with pytest.raises(JobFailed) as caught:
        world.run()
    assert (caught.value.reason, caught.value.retry, len(world.machines)) == (reason, False, 1)
    assert "the last line" in caught.value.log_tail
    assert not world.alive()
    # What may have spoilt a checkpoint must not be gone on from.
    assert (world.ledger.folder(KEY) / "checkpoint").exists() == (reason not in ("failed", "diverged"))


def test_a_killed_job_goes_on_from_its_checkpoint_on_another_pod(world: World) -> None:
    world.exit = (-9, "killed")

    def heal(what: str) -> None:
        if len(world.machines) == 2:
            world.exit = (0, "exited")

    world.before = heal
    finished = world.run()
    assert [machine.resumed for machine in world.machines] == [False, True]
    assert (finished.pods, finished.usd >= world.bill()) == (2, True)


def test_a_supervisor_that_died_without_a_word_is_noticed(world: World) -> None:
    def kill(what: str) -> None:
        if what == "poll" and len(world.machines) == 1:
            world.machines[0].supervised = False

    world.before = kill
    assert world.run().pods == 2


def test_a_job_without_a_word_has_hung(world: World) -> None:
    world.talks, world.job_seconds = False, 3 * 3_600
    with pytest.raises(JobFailed) as caught:
        world.run()
    assert caught.value.reason == "hung"
    assert timedelta(minutes=20) <= world.clock - START < timedelta(minutes=23)
    assert "cancel" in world.calls


def test_a_secret_in_the_log_is_not_in_the_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "the last line")
    world.exit = (1, "exited")
    job = a_job()
    with pytest.raises(JobFailed) as caught:
        world.run(job=type(job)(**{**vars(job), "secrets": ("HF_TOKEN",)}))
    assert "the last line" not in caught.value.log_tail + str(caught.value)
    assert "<HF_TOKEN>" in caught.value.log_tail


@pytest.mark.fault("dropped network", stage="training on a pod", expected="outlasted while the lease runs")
def test_a_lost_link_is_outlasted_while_the_lease_runs(world: World) -> None:
    def cut(what: str) -> None:
        minutes = (world.clock - START).total_seconds() / 60
        world.link_down = 20 < minutes < 31 or 40 < minutes < 51

    world.before = cut
    finished = world.run()
    assert finished.pods == 1
    assert any("connection lost" in detail for _, detail in world.told)
    assert world.heard_log == world.machines[0].log


def test_a_link_lost_for_longer_than_the_lease_loses_the_pod(world: World) -> None:
    def cut(what: str) -> None:
        world.link_down = len(world.machines) == 1 and world.clock - START > timedelta(minutes=20)

    world.before = cut
    finished = world.run()
    assert finished.pods == 2
    assert State.LOST in [state for state, _ in world.told]


def test_a_reset_container_and_a_vanished_pod_are_lost(world: World) -> None:
    def lose(what: str) -> None:
        if what == "poll" and world.clock - world.machines[-1].created_at > timedelta(minutes=30):
            if len(world.machines) == 1:
                world.machines[0].host_key += 1
            if len(world.machines) == 2:
                world.machines[1].ended_at = world.machines[1].ended_at or world.clock

    world.before = lose
    finished = world.run()
    assert finished.pods == 3
    assert [state for state, _ in world.told].count(State.LOST) == 2
    assert [machine.resumed for machine in world.machines] == [False, True, True]


def test_a_cancelled_run_ends_its_pod(world: World) -> None:
    def cancel(what: str) -> None:
        world.stop = world.clock - START > timedelta(minutes=10)

    world.before = cancel
    with pytest.raises(Cancelled):
        world.run()
    assert not world.alive()
    assert world.clock - START < timedelta(minutes=12)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("moment", ["create", "get", "login", "stage", "launch", "poll", "collect", "terminate"])
def test_an_interrupted_run_ends_its_pod(world: World, moment: str, interruption: type[BaseException]) -> None:
    def interrupt(what: str) -> None:
        if what == moment and world.calls.count(moment) == 1:
            raise interruption

    world.before = interrupt
    with pytest.raises(interruption):
        world.run()
    assert not world.alive()
    assert world.ledger.live("world") == []
    assert len(world.machines) <= 1  # and no other was rented
    assert (world.home / "result").is_dir() is (moment == "terminate")  # which comes after all was fetched


@pytest.mark.parametrize("moment", ["create", "get", "login", "stage", "poll", "collect"])
def test_signals_that_arrive_together_leave_no_pod(world: World, moment: str) -> None:
    """Ctrl-C reaches the run and the command that started it, which then tells the run to stop, too. On a busy machine
    Python handles the second signal while the first exception is on its way to whatever ends the pod."""
    both = (signal.SIGINT, signal.SIGTERM)

    def interrupt(what: str) -> None:
        if what == moment and world.calls.count(moment) == 1:
            signal.pthread_sigmask(signal.SIG_BLOCK, both)
            for number in both:
                signal.raise_signal(number)  # for this thread: of a signal for the process, another could take one now
            signal.pthread_sigmask(signal.SIG_UNBLOCK, both)

    world.before = interrupt
    before = {number: signal.signal(number, signal.default_int_handler) for number in both}
    try:
        with pytest.raises(KeyboardInterrupt):
            world.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert not world.alive()
    assert world.ledger.live("world") == []


def test_a_training_that_was_cancelled_goes_on_from_its_fetched_checkpoint_when_it_is_started_again(
    world: World,
) -> None:
    def cancel(what: str) -> None:
        world.stop = world.calls.count("checkpoint") > 1

    world.before = cancel
    with pytest.raises(Cancelled):
        world.run()
    assert not world.alive()
    world.before, world.stop = lambda what: None, False
    assert world.run().pods == 1
    assert [machine.resumed for machine in world.machines] == [False, True]


def test_a_pod_that_cannot_be_ended_is_an_orphan_until_the_reaper_ends_it(world: World) -> None:
    def fail(what: str) -> None:
        if what == "terminate":
            raise Uncertain("500")

    world.before = fail
    finished = world.run()  # the result is here all the same
    assert world.told[-1][0] is State.ORPHAN
    assert [row.state for row in world.ledger.live("world")] == [State.ORPHAN]
    assert world.calls.count("terminate") == 5
    # Another run of the job does not rent beside it.
    with pytest.raises(Uncertain, match="cannot be terminated"):
        world.run(world.home / "second")
    assert len(world.machines) == 1
    world.before = lambda what: None
    report = reap(Control(world), world.ledger, SETTINGS, world.now, lambda run_id: False, world.sleep)
    assert report.ended == ("p0",)
    assert not world.alive()
    assert world.ledger.spent().ended_usd >= world.bill() > finished.usd / 100


def test_an_end_that_was_answered_with_an_error_is_proven_by_lasting_silence(world: World) -> None:
    terminate = world.terminate

    def lands_and_fails(pod_id: str) -> bool:
        if terminate(pod_id):
            raise Uncertain("500")
        return False

    world.terminate = lands_and_fails  # type: ignore[method-assign]
    world.run()
    assert world.ledger.live("world") == []
    assert world.ledger.spent().ended_usd >= world.bill()


def test_an_order_after_a_doubtful_dearer_one_is_booked_at_the_dearer_price_until_the_pod_is_known(
    world: World,
) -> None:
    world.prices = {"A": Decimal("0.9")}
    booked = []

    def doubtful(world: World, order: Order) -> Pod:
        raise Uncertain("500")

    def at_last(world: World, order: Order) -> Pod:
        booked.extend(row.usd_per_hour for row in world.ledger.live("world"))
        return world.create_pod(order, told_price=None)

    world.create = [*[doubtful] * 4, at_last]  # of each candidate two orders
    world.run()
    assert [candidate.gpu for candidate in world.orders] == ["A", "A", "A", "A", "B"]
    assert booked == [Decimal("0.9")]
    assert [row.usd_per_hour for row in world.ledger.pods()] == [PRICE]


def test_a_pod_that_is_charged_less_than_listed_is_booked_at_what_it_is_charged(world: World) -> None:
    world.charges = {"A": PRICE / 2}

    def untold(world: World, order: Order) -> Pod:  # as GraphQL answers an order
        return world.create_pod(order, told_price=None)

    world.create = [untold]
    finished = world.run()
    assert [row.usd_per_hour for row in world.ledger.pods()] == [PRICE / 2]
    assert world.bill() <= finished.usd < world.bill() * Decimal("1.1")


def test_a_pod_of_which_nobody_tells_the_price_is_named_and_stays_booked_as_listed(world: World) -> None:
    get, find = world.get, world.find

    def untold(pod: Pod) -> Pod:
        return replace(pod, usd_per_hour=None)

    world.create = [lambda world, order: world.create_pod(order, told_price=None)]
    world.get = lambda pod_id: (pod := get(pod_id)) and untold(pod)  # type: ignore[method-assign]
    world.find = lambda prefix: [untold(pod) for pod in find(prefix)]  # type: ignore[method-assign]
    world.run()
    (said,) = [detail for _, detail in world.told if "the actual price of the pod p0 is unknown" in detail]
    assert f"${PRICE}" in said
    assert [row.usd_per_hour for row in world.ledger.pods()] == [PRICE]


def test_a_control_plane_that_denies_a_pod_while_it_refuses_to_end_it_is_not_believed(world: World) -> None:
    terminate, get, find = world.terminate, world.get, world.find
    until: list[datetime] = []

    def in_trouble() -> bool:
        until.append(world.clock + timedelta(seconds=60))
        return world.clock < until[0]

    def refuses(pod_id: str) -> bool:
        if in_trouble():
            raise Uncertain("500")
        return terminate(pod_id)

    world.terminate = refuses  # type: ignore[method-assign]
    world.get = lambda pod_id: None if until and in_trouble() else get(pod_id)  # type: ignore[method-assign]
    world.find = lambda name: [] if until and in_trouble() else find(name)  # type: ignore[method-assign]
    world.run()
    assert len(world.alive()) == len(world.ledger.live("world")) == 1
    world.pass_time(60)
    reap(Control(world), world.ledger, SETTINGS, world.now, lambda run_id: False, world.sleep)
    assert not world.alive()
    assert world.ledger.live("world") == []
    assert world.ledger.spent().ended_usd >= world.bill()


def test_a_pod_that_exited_and_is_still_listed_is_not_taken_for_gone(world: World) -> None:
    """Its disk costs."""
    asked = []

    def nothing_happens(pod_id: str) -> bool:
        asked.append(pod_id)
        machine = world.machine(pod_id)
        exited = replace(machine.pod, status=PodStatus.ENDED)
        world.get = lambda pod_id: exited if len(asked) < 3 else None  # type: ignore[method-assign,assignment]
        if len(asked) == 3:
            machine.ended_at = world.clock
        return True

    world.terminate = nothing_happens  # type: ignore[method-assign]
    world.run()
    assert len(asked) == 3
    assert world.told[-1][0] is State.RELEASED


# Runs that were killed.


def test_a_second_run_of_a_job_at_work_is_turned_away(world: World) -> None:
    with hold(world.ledger.folder(KEY)), pytest.raises(JobBusy, match=KEY) as caught:
        world.run()
    assert not world.calls
    assert caught.value.retry  # the reaper may have held it


@pytest.mark.parametrize("moment", ["create", "get", "login", "preflight", "stage", "launch", "poll", "collect"])
@pytest.mark.parametrize("done", [False, True])
def test_a_pod_of_a_killed_run_is_taken_over(world: World, moment: str, done: bool) -> None:
    """Killed just before, or just after, each step."""

    def kill(what: str) -> None:
        before = what == moment and world.calls.count(moment) == 1
        after = moment in world.calls and what != moment and not world.killed
        if (after if done else before) and "again" not in world.calls:
            world.killed = True
            raise Killed

    world.before = kill
    with pytest.raises(Killed):
        world.run(run_id="first")
    world.calls.append("again")
    world.clock += timedelta(minutes=2)
    finished = world.run(run_id="second")
    assert len(world.machines) == 1
    assert all(machine.launched == 1 for machine in world.machines)
    created = (moment, done) != ("create", False)
    assert finished.reattached == (created and (moment, done) != ("collect", True))
    assert world.heard_log.count(b"the first line") == 1 or moment in ("poll", "collect")
    assert not world.alive()
    assert finished.usd >= world.bill()


def test_a_result_fetched_by_a_killed_run_is_used_and_its_pod_ended(world: World) -> None:
    def kill(what: str) -> None:
        if what == "terminate":
            world.killed = True
            raise Killed

    world.before = kill
    with pytest.raises(Killed):
        world.run()
    world.before = lambda what: None
    finished = world.run(world.home / "elsewhere")
    assert finished.folder == world.home / "result"
    assert (len(world.machines), world.alive()) == (1, [])
    # That job is over: the next run trains anew.
    world.run(world.home / "third")
    assert len(world.machines) == 2


def _lands_and_kills(hidden_seconds: float) -> Callable[[World, Order], Pod]:
    def lands(world: World, order: Order) -> Pod:
        world.create_pod(order, hidden_seconds=hidden_seconds)
        world.killed = True
        raise Killed

    return lands


@pytest.mark.parametrize("hidden_seconds", [3, 50, 85])
def test_a_pod_that_lands_after_its_run_was_killed_is_waited_for_and_taken_over(
    world: World, hidden_seconds: float
) -> None:
    world.create = [_lands_and_kills(hidden_seconds)]
    with pytest.raises(Killed):
        world.run(run_id="first")
    finished = world.run(run_id="second")
    assert (len(world.machines), finished.reattached) == (1, True)
    assert world.ledger.spent().usd >= world.bill()


def test_a_pod_that_lands_later_than_any_lag_after_a_kill_is_ended_beside_the_new_one(world: World) -> None:
    world.create = [_lands_and_kills(150)]
    with pytest.raises(Killed):
        world.run(run_id="first")
    finished = world.run(run_id="second")
    assert (len(world.machines), finished.pod_id) == (2, "p1")
    assert world.machines[0].ended_at - START < timedelta(minutes=4)
    assert world.ledger.spent().usd >= world.bill()


def test_a_pod_of_a_killed_run_that_is_not_shown_yet_is_taken_over(world: World) -> None:
    world.hidden_seconds = world.unknown_seconds = 35

    def kill(what: str) -> None:
        if what == "get":
            world.killed = True
            raise Killed

    world.before = kill
    with pytest.raises(Killed):
        world.run(run_id="first")
    world.before = lambda what: None
    finished = world.run(run_id="second")
    assert (len(world.machines), finished.reattached) == (1, True)


def test_a_job_that_an_earlier_version_began_keeps_its_pod_under_its_old_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(what: str) -> None:
        if what == "poll":
            world.killed = True
            raise Killed

    world.before = kill
    with monkeypatch.context() as earlier:
        earlier.setattr(Work, "new_name", f"bizcharts-{KEY}")
        with pytest.raises(Killed):
            world.run(run_id="first")
    world.before = lambda what: None
    finished = world.run(run_id="second")
    assert (finished.pod_id, finished.reattached) == ("p0", True)
    assert world.machines[0].pod.name == f"bizcharts-{KEY}"


def test_a_pod_whose_key_is_gone_is_ended_and_another_rented(world: World) -> None:
    def kill(what: str) -> None:
        if what == "poll":
            world.killed = True
            raise Killed

    world.before = kill
    with pytest.raises(Killed):
        world.run()
    world.before = lambda what: None
    (world.ledger.folder(KEY) / "keys" / "id_ed25519").unlink()
    (world.ledger.folder(KEY) / "keys" / "pinned").unlink()
    finished = world.run()
    assert (finished.pod_id, finished.reattached) == ("p1", False)
    assert not world.alive()


def test_a_folder_that_is_there_is_not_written_over_and_costs_nothing(world: World) -> None:
    (world.home / "result").mkdir()
    (world.home / "result" / "model").touch()
    with pytest.raises(PodError, match="already exists"):
        world.run()
    assert not world.orders


# Everything at once.


FAULTS = given(
    seed=st.integers(0, 2**32),
    rate=st.sampled_from([0.0, 0.02, 0.1, 0.3]),
    kill_rate=st.sampled_from([0.0, 0.002, 0.01]),
    code=st.sampled_from([(0, "exited")] * 4 + [(3, "exited"), (-9, "killed")]),
)
IN_ONE_FOLDER = [HealthCheck.function_scoped_fixture]


@pytest.mark.slow
@settings(max_examples=80, suppress_health_check=IN_ONE_FOLDER)
@FAULTS
def test_whatever_goes_wrong_no_pod_outlives_run_and_reaper_and_every_cent_is_booked(
    seed: int, rate: float, kill_rate: float, code: tuple[int, str]
) -> None:
    _three_runs_and_the_reaper(seed, rate, kill_rate, code)


@pytest.mark.acceptance
@settings(max_examples=1_000, suppress_health_check=IN_ONE_FOLDER)
@FAULTS
def test_in_a_thousand_jobs_no_pod_outlives_run_and_reaper_and_every_cent_is_booked(
    seed: int, rate: float, kill_rate: float, code: tuple[int, str]
) -> None:
    _three_runs_and_the_reaper(seed, rate, kill_rate, code)


def _three_runs_and_the_reaper(seed: int, rate: float, kill_rate: float, code: tuple[int, str]) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        world = World(Path(folder), random.Random(seed), rate, kill_rate, exit=code)
        for number in range(3):
            finished = None
            try:
                finished = world.run(world.home / f"result{number}", run_id=f"run{number}")
            except Killed:
                assert world.killed
            except PodError:
                pass
            world.killed = False
            if finished is not None:
                pod_id = (finished.folder / "verified").read_text()
                machine = world.machine(pod_id)
                assert machine.exit is not None
                assert machine.exit.code == 0
            _check(world, number)
            world.pass_time(world.chance.choice([1, 600, 3_600]))
        world.rate = world.kill_rate = 0
        for _ in range(3):  # the sensor, every five minutes: a pod that vanished is looked for again
            world.pass_time(300)
            report = reap(Control(world), world.ledger, SETTINGS, world.now, lambda run_id: False, world.sleep)
        assert report.failed == ()
        assert not world.alive()
        assert world.ledger.live("world") == []
        assert not world.doubles
        booked = {row.pod_id: row.usd for row in world.ledger.pods()}
        for machine in world.machines:
            # One of which no answer told, and that died before anybody looked, nobody can know of.
            assert machine.pod.pod_id in booked or not (machine.terminated or machine.launched)
            assert booked.get(machine.pod.pod_id, world.seen_bill_of(machine)) >= world.seen_bill_of(machine)
        assert sum(booked.values()) == world.ledger.spent().ended_usd


def _check(world: World, number: int) -> None:
    """What holds after each run, killed or not."""
    job = world.ledger.open_job(KEY, "world")
    rows = world.ledger.live("world")
    visible = [machine for machine in world.alive() if machine.seen_from <= world.clock]
    if world.told and world.told[-1][0] is State.RELEASED:
        # The run ended by itself: nothing may be left, but what an order brought later than anybody can wait for.
        assert all(machine.seen_from > world.machines[0].created_at for machine in visible)
    for row in rows:
        assert row.deadline - row.created_at <= timedelta(hours=SETTINGS.max_hours, minutes=40)
    if job is not None:
        events = world.ledger.events(job.id)
        for before, after in pairwise(events):
            assert after.state is State.PLANNED or after.state in TRANSITIONS[before.state]
