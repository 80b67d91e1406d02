"""Each stage meets each fault at one of its writes; repeated until it succeeds, it leaves what an undisturbed run
leaves: every row of the database and of the ledgers, and every file."""

import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from faults.chain import PRELOADED, Chain, Ended, differences
from faults.disturbed import BALLAST
from faults.power import powered_disk
from faults.stages import BY_NAME, NOW, STAGES, Stage
from pods.small_disk import small_disk

from bizcharts_pipeline.demo.label_apis.wire import LabelFault
from bizcharts_pipeline.demo.server import Fault

KILOBYTES = 160_000  # of the disk that is filled
PATIENCE_SECONDS = 5.0  # in which a second process of a stopped stage may end by itself
JUMP = timedelta(days=400)
EQUAL = "repeated, it leaves what an undisturbed run leaves"
QUICK = "poll"  # in `make test-all`; the others, and what needs libfiu, in `make acceptance`


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with Chain(tmp_path_factory.mktemp("chain")) as chain:
        yield chain


def cells(
    fault: str, expected: str, stages: Sequence[Stage] = STAGES, shares: Sequence[float] = (0.5,)
) -> list[object]:
    """The parameters of one column of the matrix: a stage, and how far into its writes the fault comes."""
    return [
        pytest.param(
            stage,
            share,
            marks=[
                pytest.mark.fault(fault, stage=stage.name, expected=expected),
                pytest.mark.slow
                if stage.name == QUICK and share == shares[0] and fault != "EIO"
                else pytest.mark.acceptance,
            ],
            id=f"{stage.name}-{share}",
        )
        for stage in stages
        for share in shares
    ]


def write_at(chain: Chain, stage: Stage, share: float) -> int:
    """The number of a write near ``share`` of all, the same in each run."""
    count = len(chain.steps(stage))
    near = share + random.Random(f"{stage.name} {share}").uniform(-0.12, 0.12)
    return 1 + max(0, min(count - 1, round(near * count)))


def check_equal(chain: Chain, stage: Stage, ended: Ended) -> None:
    """Repeat what has failed; compare everything with the undisturbed run."""
    if ended.status or stage.postpones:
        chain.until_quiet(stage)
    different = differences(chain.expected(stage), chain.contents(stage))
    assert not different, f"{ended.fired}\n{different}\n{ended.output[-1500:]}"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("stage", "share"), cells("SIGKILL", EQUAL, shares=(0.5, 0.15, 0.85)))
def test_a_stage_killed_at_a_write(chain: Chain, stage: Stage, share: float) -> None:
    chain.rewind(stage)
    ended = chain.run(stage, fault="SIGKILL", at=write_at(chain, stage, share))
    assert ended.fired
    check_equal(chain, stage, ended)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("stage", "share"),
    cells(
        "SIGSTOP", "a second process of the stage waits, works or refuses; after SIGCONT, both leave what one leaves"
    ),
)
def test_a_stage_stopped_at_a_write_while_another_process_runs_it(chain: Chain, stage: Stage, share: float) -> None:
    chain.rewind(stage)
    first = chain.start(stage, fault="SIGSTOP", at=write_at(chain, stage, share))
    assert first.until_stopped()
    second = chain.start(stage, BIZCHARTS_DATABASE_WAIT_SECONDS="1")
    try:
        second.process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        first.resume()
    ends = [first.end(), second.end()]
    assert not [end.output for end in ends if "Traceback" in end.output]
    check_equal(chain, stage, min(ends, key=lambda end: end.status != 0))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("stage", "share"), cells("ENOSPC", f"it fails without a traceback; with free space and {EQUAL}")
)
def test_a_stage_whose_disk_is_full_from_a_write_on(chain: Chain, stage: Stage, share: float) -> None:
    with small_disk(chain.place, KILOBYTES):
        chain.rewind(stage)
        ended = chain.run(stage, fault="ENOSPC", at=write_at(chain, stage, share))
        assert ended.fired
        assert "Traceback" not in ended.output
        (chain.place / BALLAST).unlink()
        check_equal(chain, stage, ended)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("stage", "share"), cells("EIO", f"one write and one flush fail; {EQUAL}"))
def test_a_stage_whose_disk_fails_at_a_write(chain: Chain, stage: Stage, share: float) -> None:
    if not Path(PRELOADED.split(":")[0]).exists():
        pytest.skip("no libfiu here: apt install fiu-utils (Debian)")
    chain.rewind(stage)
    ended = chain.run_with_libfiu(stage, write_at(chain, stage, share))
    assert ended.fired
    check_equal(chain, stage, ended)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("stage", "share"), cells("power cut", f"what was not flushed is lost; {EQUAL}"))
def test_a_stage_whose_machine_loses_power_at_a_write(chain: Chain, stage: Stage, share: float) -> None:
    with powered_disk(chain.place) as disk:
        chain.rewind(stage)
        disk.flush()
        ended = chain.run(stage, fault="power cut", at=write_at(chain, stage, share))
        assert ended.fired
        disk.cut_and_restart()
        check_equal(chain, stage, ended)


UNLOGGED = ("model release", "exports", "compaction", "backup", "restore", "snapshot")
LOGGED = [stage for stage in STAGES if stage.name not in UNLOGGED]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("stage", "share"), cells("torn log", f"a commit half written is no commit; {EQUAL}", LOGGED))
def test_a_stage_that_dies_with_half_a_commit_in_its_log(chain: Chain, stage: Stage, share: float) -> None:
    chain.rewind(stage)
    ended = chain.run(stage, fault="torn log", at=write_at(chain, stage, share))
    if ended.fired is None:  # its last commit came before
        chain.rewind(stage)
        ended = chain.run(stage, fault="torn log", at=1)
    assert ended.fired
    check_equal(chain, stage, ended)


# Labels are given and imported by whatever clock there is; by one that is ahead the last poll is old, and the alert
# says so; a database is rewritten at any time.
CLOCKED = [stage for stage in STAGES if stage.name not in ("labeller", "label import", "alerts", "compaction")]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("stage", "share"),
    cells("clock jump", "refused, or independent of the clock: with the right one, equal", CLOCKED, (1, -1)),
)
def test_a_stage_whose_clock_has_jumped_four_hundred_days(chain: Chain, stage: Stage, share: float) -> None:
    chain.rewind(stage)
    ended = chain.run(stage, now=NOW + share * JUMP)
    assert "Traceback" not in ended.output
    check_equal(chain, stage, ended)


@contextmanager
def bad_line(chain: Chain, *, latency_seconds: float = 0, resets: bool = False) -> Iterator[None]:
    """All hosts answer late, or reset every second connection."""
    servers = [chain.hosts.board, chain.hosts.archive, chain.hosts.prices, chain.apis]
    for server in servers:
        server.latency_seconds = latency_seconds
        server.fail_every, server.fail_with = (2 if resets else None), Fault.RESET
    chain.apis.rates = {LabelFault.RESET: 0.3} if resets else {}
    try:
        yield
    finally:
        for server in servers:
            server.latency_seconds, server.fail_every = 0, None
        chain.apis.rates = {}


# The archive's and the price sources' clients pause for minutes after a refusal; their own tests simulate that time.
ASKING = [BY_NAME[name] for name in ("poll", "thumbnails", "auto-labels", "reference index")]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("stage", "share"), cells("dropped network", f"every second connection is reset; {EQUAL}", ASKING)
)
def test_a_stage_whose_connections_are_reset(chain: Chain, stage: Stage, share: float) -> None:
    chain.rewind(stage)
    with bad_line(chain, resets=True):
        ended = chain.run(stage)
    assert "Traceback" not in ended.output
    check_equal(chain, stage, replace(ended, status=1))


SLOW = [stage for stage in STAGES if stage.network and stage.name not in ("alerts", "model release")]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("stage", "share"), cells("slow network", "each answer half a second late: equal", SLOW))
def test_a_stage_whose_hosts_answer_late(chain: Chain, stage: Stage, share: float) -> None:
    chain.rewind(stage)
    with bad_line(chain, latency_seconds=share):
        ended = chain.run(stage)
    check_equal(chain, stage, ended)
