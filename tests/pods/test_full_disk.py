"""A disk of this machine that is full when a paid result is to be fetched: the pod is kept, and paid once."""

import errno
import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from pods.pod_world import KEY, SETTINGS, Control, World, install
from pods.small_disk import fill, resize, small_disk
from quick_pods import PodWorld, training
from quick_training import adapter

from bizcharts_pipeline.core.files import TEMPORARY_PREFIX
from bizcharts_pipeline.demo.pods.control import PodControl
from bizcharts_pipeline.pods import kept, transport
from bizcharts_pipeline.pods.errors import BadHost, JobFailed, LedgerNotWritable, LocalDiskError, TransferError
from bizcharts_pipeline.pods.every_provider import reap_everywhere
from bizcharts_pipeline.pods.protocol import State
from bizcharts_pipeline.pods.reaper import ReapReport, reap
from bizcharts_pipeline.pods.steady_clock import open_clock
from bizcharts_pipeline.pods.transport import LocalTransport


@pytest.mark.slow
@pytest.mark.fault("ENOSPC", stage="training on a pod", expected="the pod stays; the next run fetches the result")
def test_a_disk_that_fills_up_while_a_result_is_fetched_keeps_the_pod_and_the_next_run_pays_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PodControl(tmp_path / "cloud") as control:
        of = training(30, adapter_bytes=3_000_000)
        pods = PodWorld(tmp_path / "home", control.url, control.key, [of], {"api": "rest", "lease_minutes": 3})
        with small_disk(pods.home / "results", 1_000):
            outcome = pods.run(0)
            assert outcome.get("error") == "LocalDiskError", outcome
            assert "No space left on device" in outcome["message"]
            assert "start the same job again" in outcome["message"]
            monkeypatch.setenv("RUNPOD_API_KEY", control.key)
            monkeypatch.setenv("RUNPOD_API_BASE_URL", control.url)
            now = open_clock(pods.ledger.path.parent)
            (pod,) = pods.ledger.live("runpod")
            report = reap_everywhere(pods.settings, pods.ledger, now, lambda run_id: False)
            assert report == ReapReport((), (pod.pod_id or "",), ())

            resize(pods.home / "results", 10_000)
            outcome = pods.run(0)
            assert (outcome.get("pods"), outcome.get("reattached")) == (1, True), outcome
            weights = pods.home / "results" / "0" / "adapter" / "adapter_model.safetensors"
            assert weights.read_bytes() == adapter(30, 3_000_000)
        assert len(control.bill().charges) == 1
        assert control.bill().alive == 0
        assert pods.ledger.live() == []


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    install(monkeypatch)
    return World(tmp_path / "home")


def _reap(world: World) -> ReapReport:
    return reap(Control(world), world.ledger, SETTINGS, world.now, lambda run_id: False, world.sleep)


def test_where_the_result_has_filled_a_disk_on_which_no_room_was_taken_the_note_takes_that_of_the_result(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "reserve", lambda folder: None)
    part = world.home / f"{TEMPORARY_PREFIX}result" / "weights.bin"
    with small_disk(world.home, 2_000):
        world.before = lambda what: fill(part) if what == "collect" else None
        with pytest.raises(LocalDiskError, match="No space left on device"):
            world.run()
        world.before = lambda what: None
        assert not part.exists()
        assert _reap(world) == ReapReport((), ("p0",), ())
        finished = world.run()
        assert (finished.pods, finished.reattached) == (1, True)
        assert finished.usd >= world.bill()
    assert len(world.machines) == 1


def test_a_disk_that_was_full_before_a_result_is_fetched_keeps_the_pod_and_the_note_has_its_room(
    world: World,
) -> None:
    ballast = world.home / "ballast"
    with small_disk(world.home, 2_000):
        world.before = lambda what: fill(ballast) if what == "poll" else None
        with pytest.raises(LocalDiskError, match="start the same job again"):
            world.run()
        assert len(world.alive()) == 1
        world.before = lambda what: None
        ballast.unlink()
        assert _reap(world) == ReapReport((), ("p0",), ())
        finished = world.run()
        assert (finished.pods, finished.reattached) == (1, True)
    assert len(world.machines) == 1


def _kept(world: World) -> None:
    def full(what: str) -> None:
        if what == "collect":
            raise LocalDiskError("no room")

    world.before = full
    with pytest.raises(LocalDiskError):
        world.run()
    world.before = lambda what: None


def test_the_reaper_leaves_a_kept_pod_for_a_lease_and_its_keys_go_with_it(world: World) -> None:
    _kept(world)
    keys = world.ledger.folder(KEY) / "keys"
    lease = timedelta(minutes=SETTINGS.lease_minutes)
    world.machines[0].lease = timedelta(days=1)  # only the reaper ends it
    world.clock += lease - timedelta(minutes=1)
    assert _reap(world) == ReapReport((), ("p0",), ())
    assert (keys / "id_ed25519").exists()
    world.clock += timedelta(minutes=2)
    assert _reap(world) == ReapReport(("p0",), (), ())
    assert not world.alive()
    assert not list(keys.iterdir())
    assert world.ledger.spent().ended_usd >= world.bill()


def test_a_kept_pod_whose_time_is_over_is_ended(world: World) -> None:
    _kept(world)
    world.machines[0].lease = world.machines[0].ttl = timedelta(days=1)
    world.clock += timedelta(hours=SETTINGS.max_hours)
    kept.keep(world.ledger.folder(KEY), world.clock + timedelta(minutes=5))
    assert _reap(world) == ReapReport(("p0",), (), ())
    assert not world.alive()


def test_the_keys_of_a_pod_whose_end_is_not_proven_stay(world: World) -> None:
    _kept(world)
    world.machines[0].lease = timedelta(days=1)
    world.clock += timedelta(hours=1)
    world.terminate = lambda pod_id: False  # type: ignore[method-assign]
    (trouble,) = _reap(world).failed
    assert "p0" in trouble
    assert (world.ledger.folder(KEY) / "keys" / "id_ed25519").exists()


NUMBERS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EMFILE, errno.ENAMETOOLONG]


@pytest.mark.parametrize("number", NUMBERS)
def test_whatever_keeps_this_machine_from_storing_a_result_keeps_its_pod(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    def fails(what: str) -> None:
        if what == "collect":
            fail()

    world.before = fails
    with pytest.raises(LocalDiskError, match=f"{os.strerror(number)}.*start the same job again"):
        world.run()
    world.before = lambda what: None
    assert _reap(world) == ReapReport((), ("p0",), ())
    finished = world.run()
    assert (finished.pods, finished.reattached, len(world.machines)) == (1, True, 1)

    monkeypatch.setattr(transport.shutil, "copyfile", fail)
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a").write_bytes(b"1")
    with pytest.raises(LocalDiskError, match=os.strerror(number)):
        LocalTransport(tmp_path).pull(str(tmp_path / "far"), tmp_path / "near")
    with pytest.raises(TransferError, match="was not copied"):
        LocalTransport(tmp_path).pull(str(tmp_path / "nowhere"), tmp_path / "near")


def test_a_finished_result_outlives_a_run_whose_log_cannot_be_written(world: World) -> None:
    def fails(what: str) -> None:
        if what == "state" and (events := world.ledger.events(1)) and events[-1].state is State.COLLECTING:
            raise RuntimeError("database or disk is full")

    world.before = fails
    with pytest.raises(LocalDiskError, match=r"disk is full.*start the same job again"):
        world.run()
    world.before = lambda what: None
    finished = world.run()
    assert (finished.pods, finished.reattached, len(world.machines)) == (1, True, 1)


def _wrapped() -> NoReturn:
    try:
        raise sqlite3.OperationalError("database or disk is full")
    except sqlite3.OperationalError as error:
        raise RuntimeError("the event could not be stored") from error


def _no_space() -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def _ledger() -> NoReturn:
    raise LedgerNotWritable("the ledger of pods cannot be used")


@pytest.mark.parametrize("fail", [_wrapped, _no_space, _ledger])
@pytest.mark.fault("ENOSPC", stage="training on a pod", expected="the training stays; the next run takes it up")
def test_a_disk_that_fills_up_while_a_pod_trains_keeps_the_training_and_the_next_run_takes_it_up(
    world: World, fail: Callable[[], NoReturn]
) -> None:
    def fails(what: str) -> None:
        if what == "log" and len(world.heard_log) > 20:
            fail()

    world.before = fails
    with pytest.raises(LocalDiskError, match=r"The training continues on the pod p0.*start the same job again"):
        world.run()
    assert len(world.alive()) == 1
    world.before = lambda what: None
    assert _reap(world) == ReapReport((), ("p0",), ())
    finished = world.run()
    assert (finished.pods, finished.reattached, len(world.machines)) == (1, True, 1)
    assert finished.usd >= world.bill()


@pytest.mark.parametrize(
    "error",
    [RuntimeError("a fault of the program"), JobFailed("Its last line: No space left on device", "disk full")],
)
def test_what_is_not_this_machine_s_disk_ends_a_pod_that_trains(world: World, error: Exception) -> None:
    def fails(what: str) -> None:
        if what == "log":
            raise error

    world.before = fails
    with pytest.raises(type(error)):
        world.run()
    assert not world.alive()


def test_a_job_on_this_machine_tells_a_full_disk_here_from_one_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "weights.bin").write_bytes(bytes(500_000))
    here = LocalTransport(tmp_path)
    with small_disk(tmp_path / "small", 100):
        with pytest.raises(LocalDiskError, match="No space left on device"):
            here.pull(str(tmp_path / "large"), tmp_path / "small" / "result")
        with pytest.raises(BadHost, match="No space left on device"):
            here.push(tmp_path / "large", str(tmp_path / "small" / "data"))
