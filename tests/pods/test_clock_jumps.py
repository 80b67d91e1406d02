"""Wall clocks that jump by an hour, and a pretended time, while a pod lives: they end nothing and book nothing."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pods.pod_world import KEY, SETTINGS, START, Control, Killed, World, install

from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.pods import steady_clock
from bizcharts_pipeline.pods.errors import BadHost, JobFailed
from bizcharts_pipeline.pods.reaper import reap
from bizcharts_pipeline.pods.steady_clock import open_clock

HOUR = timedelta(hours=1)
JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])


@dataclass
class Clocks:
    """Stands for the module `time`: the time since boot is a world's own, the wall clock may be set."""

    world: World
    jump: timedelta = timedelta(0)
    CLOCK_BOOTTIME = CLOCK_MONOTONIC = 0

    def time(self) -> float:
        return to_epoch(self.world.clock + self.jump)

    def clock_gettime(self, _: int) -> float:
        return (self.world.clock - START).total_seconds() + 500

    def start_process(self) -> None:
        """Let the process under test open its clock, as each process does."""
        clock = open_clock(self.world.ledger.path.parent)

        def now() -> datetime:
            if self.world.killed:
                raise Killed
            return clock()

        self.world.now = now  # type: ignore[method-assign]

    def jump_at(self, call: str, jump: timedelta) -> None:
        """Set the wall clock at the first call of this name."""

        def before(what: str) -> None:
            if what == call:
                self.jump = jump

        self.world.before = before


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocks]:
    install(monkeypatch)
    monkeypatch.setenv("BIZCHARTS_NOW", "2020-01-01T00:00:00")
    with tempfile.TemporaryDirectory() as folder:
        clocks = Clocks(World(Path(folder)))
        monkeypatch.setattr(steady_clock, "time", clocks)
        clocks.start_process()
        yield clocks


def assert_one_pod_lived_and_was_booked(world: World, usd: Decimal) -> None:
    (machine,) = world.machines
    assert machine.terminated
    assert machine.ttl > timedelta(hours=SETTINGS.max_hours) - timedelta(minutes=1)
    assert 0 <= usd - world.bill() < Decimal("1e-9")
    (row,) = world.ledger.pods()
    assert (row.created_at, row.ended_at) == (machine.created_at, machine.ended_at)


@JUMPS
@pytest.mark.parametrize("call", ["usd_per_hour", "create", "get", "stage", "launch", "poll", "collect", "terminate"])
@pytest.mark.fault("clock jump", stage="training on a pod", expected="no pod ends, nothing is booked")
def test_a_jump_of_the_wall_clock_ends_no_pod_and_books_nothing(clocks: Clocks, call: str, jump: timedelta) -> None:
    world = clocks.world
    clocks.jump_at(call, jump)
    finished = world.run()
    assert clocks.jump == jump
    assert (finished.pods, finished.reattached) == (1, False)
    assert finished.seconds == (world.machines[0].ended_at - START).total_seconds()  # type: ignore[operator]
    assert_one_pod_lived_and_was_booked(world, finished.usd)


@JUMPS
def test_a_link_lost_for_less_than_a_lease_is_outlasted_though_the_clock_jumps(clocks: Clocks, jump: timedelta) -> None:
    world = clocks.world

    def lose_link(what: str) -> None:
        since_launch = world.clock - START
        if timedelta(minutes=20) < since_launch < timedelta(minutes=28):
            clocks.jump, world.link_down = jump, True
        else:
            world.link_down = False

    world.before = lose_link
    finished = world.run()
    assert any("connection lost" in detail for _, detail in world.told)
    assert finished.pods == 1
    assert_one_pod_lived_and_was_booked(world, finished.usd)


@JUMPS
def test_after_a_jump_the_next_process_and_the_reaper_keep_the_pod_of_the_killed_one(
    clocks: Clocks, jump: timedelta
) -> None:
    world = clocks.world

    def kill(what: str) -> None:
        if what == "poll":
            world.killed = True
            raise Killed

    world.before = kill
    with pytest.raises(Killed):
        world.run()
    world.before, world.killed, clocks.jump = (lambda what: None), False, jump
    clocks.start_process()
    report = reap(Control(world), world.ledger, SETTINGS, world.now, lambda run_id: True, world.sleep)
    assert report.running == ("p0",)
    finished = world.run()
    assert (finished.pods, finished.reattached) == (1, True)
    assert_one_pod_lived_and_was_booked(world, finished.usd)


@JUMPS
@pytest.mark.parametrize(
    ("what", "call", "error", "minutes"),
    [
        ("hangs", "poll", JobFailed, SETTINGS.stall_minutes),
        ("never boots", "get", BadHost, SETTINGS.boot_minutes),
        ("does not end", "poll", JobFailed, SETTINGS.max_hours * 60),
    ],
)
def test_what_hangs_never_boots_or_does_not_end_is_ended_in_time_though_the_clock_jumps(
    clocks: Clocks, what: str, call: str, error: type[Exception], minutes: float, jump: timedelta
) -> None:
    world = clocks.world
    world.talks = what != "hangs"
    world.job_seconds = 1e6
    world.boot_seconds = None if what == "never boots" else 60
    clocks.jump_at(call, jump)
    with pytest.raises(error):
        world.run(settings=SETTINGS.model_copy(update={"most_pods": 1}))
    (machine,) = world.machines
    assert machine.ended_at is not None
    lived = (machine.ended_at - machine.created_at) / timedelta(minutes=1)
    assert 0.9 * minutes < lived < minutes + 5
    assert 0 <= world.ledger.spent().ended_usd - world.bill() < Decimal("1e-9")
    assert world.ledger.live("world") == []


def test_a_pretended_time_is_not_the_time_of_pods(clocks: Clocks) -> None:
    assert clocks.world.now() == START
    assert clocks.world.run().pods == 1
    assert {row.key for row in clocks.world.ledger.pods()} == {KEY}
    assert all(row.created_at >= START for row in clocks.world.ledger.pods())
