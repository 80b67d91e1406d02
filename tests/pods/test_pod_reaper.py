"""The reaper: every orphan of ours, and nothing else."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pod_world import KEY, SETTINGS, Control, Killed, World, a_job, install

from bizcharts_pipeline.pods import kept
from bizcharts_pipeline.pods.errors import OutOfTime, Uncertain
from bizcharts_pipeline.pods.lock import hold
from bizcharts_pipeline.pods.names import pod_name
from bizcharts_pipeline.pods.plan import candidates, order
from bizcharts_pipeline.pods.protocol import Order, Pod, PodStatus
from bizcharts_pipeline.pods.reaper import ReapReport, listing, reap


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    install(monkeypatch)
    with tempfile.TemporaryDirectory() as folder:
        yield World(Path(folder))


def _create(world: World, name: str) -> None:
    world.create_pod(order(SETTINGS, name, candidates(SETTINGS)[0], "key", 14_400))


def _killed_while_running(world: World, key: str = KEY) -> None:
    def kill(what: str) -> None:
        if what == "poll":
            world.killed = True
            raise Killed

    world.before = kill
    with pytest.raises(Killed):
        world.run(job=replace(a_job(), key=key))
    world.before, world.killed = (lambda what: None), False


def _reap(world: World, *running: str) -> ReapReport:
    return reap(Control(world), world.ledger, SETTINGS, world.now, lambda run_id: run_id in running, world.sleep)


def test_a_pod_whose_run_was_killed_is_ended_and_booked(world: World) -> None:
    _killed_while_running(world)
    world.pass_time(300)
    assert _reap(world) == ReapReport(("p0",), (), ())
    assert not world.alive()
    assert world.ledger.spent().ended_usd >= world.bill() > 0
    assert _reap(world) == ReapReport((), (), ())


def test_a_pod_of_a_run_that_lives_elsewhere_is_left_until_its_time_is_over(world: World) -> None:
    _killed_while_running(world)
    world.machines[0].lease = world.machines[0].ttl = timedelta(days=1)
    assert _reap(world, "run") == ReapReport((), ("p0",), ())
    world.pass_time(4 * 3_600)
    assert _reap(world, "run") == ReapReport(("p0",), (), ())
    assert not world.alive()


def test_a_pod_whose_job_a_process_holds_is_left_until_its_time_is_over(world: World) -> None:
    _killed_while_running(world)
    world.machines[0].lease = world.machines[0].ttl = timedelta(days=1)
    with hold(world.ledger.folder(KEY)):
        assert _reap(world) == ReapReport((), ("p0",), ())
        (listed,) = listing(Control(world), world.ledger, SETTINGS, world.now(), lambda run_id: False)
        assert (listed.pod_id, listed.status, listed.orphan) == ("p0", "running", None)
        world.pass_time(4 * 3_600)
        assert _reap(world) == ReapReport(("p0",), (), ())
    assert not world.alive()


def test_pods_that_are_not_ours_are_never_touched(world: World) -> None:
    others = [
        *("somebody-elses", "bizcharts-notebook", "bizcharts-202611272330", f"bizcharts2-{KEY}", f"bizcharts-{KEY}"),
        *(f"{world.pod_name[:-1]}{world.pod_name[-1] == '0':d}", pod_name("bizcharts", "0" * 8, KEY)),
    ]
    for name in [*others, world.pod_name]:
        _create(world, name)
    report = _reap(world)
    assert report.ended == (f"p{len(others)}",)  # the ledger was lost, but the name is ours
    assert [machine.pod.name for machine in world.alive()] == others


def test_a_pod_of_ours_is_known_by_the_ledger_when_the_prefix_was_changed(world: World) -> None:
    _killed_while_running(world)
    renamed = SETTINGS.model_copy(update={"name": "another"})
    (listed,) = listing(Control(world), world.ledger, renamed, world.now(), lambda run_id: False)
    assert (listed.pod_id, listed.status, listed.orphan) == ("p0", "running", "no run is attached to it")
    _create(world, world.name_of("e" * 12))  # perhaps somebody else's now
    report = reap(Control(world), world.ledger, renamed, world.now, lambda run_id: False, world.sleep)
    assert report == ReapReport(("p0",), (), ())
    assert [machine.pod.pod_id for machine in world.alive()] == ["p1"]


def test_one_failure_keeps_no_other_pod_alive(world: World) -> None:
    _killed_while_running(world)
    _killed_while_running(world, "f" * 12)
    terminate = world.terminate

    def fails_once(pod_id: str) -> bool:
        if pod_id == "p0":
            raise Uncertain("500")
        return terminate(pod_id)

    world.terminate = fails_once  # type: ignore[method-assign]
    report = _reap(world)
    assert (report.ended, len(report.failed)) == (("p1",), 1)
    assert "p0" in report.failed[0]
    world.terminate = terminate  # type: ignore[method-assign]
    assert _reap(world).ended == ("p0",)
    assert not world.alive()


def test_a_pod_that_vanished_is_told_to_end_and_looked_for_again_before_it_is_booked(
    world: World,
) -> None:
    _killed_while_running(world)
    world.machines[0].ended_at = world.clock
    world.pass_time(30 * 86_400)
    (trouble,) = _reap(world).waiting
    assert "p0" in trouble
    assert len(world.ledger.live("world")) == 1
    world.pass_time(300)
    assert _reap(world).ended == ("p0",)
    assert world.calls.count("terminate") >= 2
    (row,) = world.ledger.pods()
    assert row.ended_at == row.deadline + timedelta(hours=1)  # the latest at which it can have ended itself
    assert world.ledger.live("world") == []


def test_a_stray_of_a_job_at_work_is_ended_and_the_working_pod_never(world: World) -> None:
    _killed_while_running(world)
    world.machines[0].lease = world.machines[0].ttl = timedelta(days=1)
    with hold(world.ledger.folder(KEY)):
        _create(world, world.pod_name)
        assert _reap(world) == ReapReport((), ("p0", "p1"), ())  # a run may just be about to book it
        world.pass_time(300)
        assert _reap(world) == ReapReport(("p1",), ("p0",), ())
        assert [machine.pod.pod_id for machine in world.alive()] == ["p0"]
        assert "p1" in {row.pod_id for row in world.ledger.live("world")}
    _reap(world)
    assert world.ledger.live("world") == []
    assert world.ledger.spent().ended_usd >= world.bill()


def test_a_pod_that_a_run_is_just_ordering_is_no_stray(world: World) -> None:
    def hang(world: World, order: Order) -> Pod:
        world.create_pod(order)
        for _ in range(3):
            world.pass_time(300)
            assert _reap(world).ended == ()
        return world.machines[0].pod

    world.create = [hang]
    assert world.run().pod_id == "p0"


def test_two_homes_with_one_account_and_one_prefix_never_touch_each_others_pods(world: World, tmp_path: Path) -> None:
    _killed_while_running(world)
    other = World(tmp_path / "other")
    other.machines, other.clock = world.machines, world.clock
    _create(world, other.pod_name)
    assert world.pod_name != other.pod_name
    assert _reap(world).ended == ("p0",)
    assert [machine.pod.pod_id for machine in world.alive()] == ["p1"]
    assert _reap(other).ended == ("p1",)
    assert not world.alive()


def test_the_listing_says_why_a_pod_is_an_orphan(world: World) -> None:
    _killed_while_running(world)
    _create(world, world.name_of("e" * 12))
    said = {
        pod.pod_id: pod.orphan for pod in listing(Control(world), world.ledger, SETTINGS, world.now(), lambda r: False)
    }
    assert said == {"p0": "no run is attached to it", "p1": "the ledger does not know it"}


def test_what_the_reaper_has_no_time_for_waits_for_the_next_tick(world: World) -> None:
    def no_time(seconds: float) -> None:
        raise OutOfTime("no time left")

    _killed_while_running(world)
    report = reap(Control(world), world.ledger, SETTINGS, world.now, lambda run_id: False, no_time)
    assert (report.ended, report.failed, len(report.waiting)) == ((), (), 1)
    assert _reap(world).ended == ("p0",)


def test_a_pod_that_waits_with_its_result_is_listed_as_kept_and_not_as_an_orphan(world: World) -> None:
    _killed_while_running(world)
    until = world.clock + timedelta(minutes=5)
    kept.keep(world.ledger.folder(KEY), until)

    def list_() -> tuple[str | None, datetime | None]:
        (pod,) = listing(Control(world), world.ledger, SETTINGS, world.now(), lambda run_id: False)
        return pod.orphan, pod.kept_until

    assert list_() == (None, until)
    world.clock = until
    assert list_() == ("no run is attached to it", None)


def test_a_pod_that_has_stopped_is_listed_as_one_that_still_costs(world: World) -> None:
    _killed_while_running(world)
    find = world.find

    def stopped(prefix: str) -> list[Pod]:
        return [replace(pod, status=PodStatus.ENDED) for pod in find(prefix)]

    world.find = stopped  # type: ignore[method-assign]
    (pod,) = listing(Control(world), world.ledger, SETTINGS, world.now(), lambda run_id: False)
    assert pod.status == "stopped, still billed"
