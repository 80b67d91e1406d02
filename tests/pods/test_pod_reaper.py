"""The reaper: every orphan of ours, and nothing else."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pod_world import KEY, NAME, SETTINGS, Control, Killed, World, a_job, install

from bizcharts_pipeline.pods.errors import Uncertain
from bizcharts_pipeline.pods.lock import hold
from bizcharts_pipeline.pods.plan import candidates, order
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
    return reap(Control(world), world.ledger, SETTINGS, world.now, lambda run_id: run_id in running)


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
    others = ["somebody-elses", "bizcharts-notebook", f"bizcharts2-{KEY}"]
    for name in [*others, NAME]:
        _create(world, name)
    report = _reap(world)
    assert report.ended == ("p3",)  # the ledger was lost, but the name is ours
    assert [machine.pod.name for machine in world.alive()] == [
        "somebody-elses",
        "bizcharts-notebook",
        f"bizcharts2-{KEY}",
    ]


def test_a_pod_of_ours_is_known_by_the_ledger_when_the_prefix_was_changed(world: World) -> None:
    _killed_while_running(world)
    renamed = SETTINGS.model_copy(update={"name": "another"})
    (listed,) = listing(Control(world), world.ledger, renamed, world.now(), lambda run_id: False)
    assert (listed.pod_id, listed.status, listed.orphan) == ("p0", "running", "no run works with it")
    _create(world, "bizcharts-" + "e" * 12)  # perhaps somebody else's now
    report = reap(Control(world), world.ledger, renamed, world.now, lambda run_id: False)
    assert report == ReapReport(("p0",), (), ())
    assert [machine.pod.pod_id for machine in world.alive()] == ["p1"]


def test_one_failure_keeps_no_other_pod_alive(world: World) -> None:
    _killed_while_running(world)
    _killed_while_running(world, "f" * 12)
    terminate = world.terminate

    def fails_once(pod_id: str) -> None:
        if pod_id == "p0":
            raise Uncertain("500")
        terminate(pod_id)

    world.terminate = fails_once  # type: ignore[method-assign]
    report = _reap(world)
    assert (report.ended, len(report.failed)) == (("p1",), 1)
    assert "p0" in report.failed[0]
    world.terminate = terminate  # type: ignore[method-assign]
    assert _reap(world).ended == ("p0",)
    assert not world.alive()


def test_a_pod_that_ended_by_itself_is_booked_to_its_deadline_at_most(world: World) -> None:
    _killed_while_running(world)
    world.machines[0].ended_at = world.clock
    world.pass_time(30 * 86_400)
    _reap(world)
    (row,) = world.ledger.pods()
    assert row.ended_at == row.deadline
    assert world.ledger.live("world") == []


def test_the_listing_says_why_a_pod_is_an_orphan(world: World) -> None:
    _killed_while_running(world)
    _create(world, "bizcharts-" + "e" * 12)
    said = {
        pod.pod_id: pod.orphan for pod in listing(Control(world), world.ledger, SETTINGS, world.now(), lambda r: False)
    }
    assert said == {"p0": "no run works with it", "p1": "the ledger does not know it"}
