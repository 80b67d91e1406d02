"""What the ledger of pods promises: money booked before it is spent, nothing lost, nothing secret."""

import multiprocessing
import sqlite3
import stat
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.core.money import in_usd
from bizcharts_pipeline.core.sqlite_seal import forget
from bizcharts_pipeline.pods import budget
from bizcharts_pipeline.pods.budget import Caps
from bizcharts_pipeline.pods.errors import OverBudget, PodError, PodLedgerError
from bizcharts_pipeline.pods.identity import installation_id, job_key
from bizcharts_pipeline.pods.ledger import LEDGER, PodLedger
from bizcharts_pipeline.pods.names import key_of, pod_name
from bizcharts_pipeline.pods.plan import candidates, order
from bizcharts_pipeline.pods.protocol import Candidate, Pod, PodStatus
from bizcharts_pipeline.settings import PodSettings

NOW = datetime(2026, 11, 30, 23)
CANDIDATE = Candidate("A", "SECURE", None)
HOME = "1f0c2b9e"
CAPS = Caps(Decimal(5), Decimal(10))


def _book(ledger: PodLedger, key: str, usd: str, hours: float = 1, caps: Caps = CAPS, now: datetime = NOW) -> int:
    job = ledger.open_job(key, "world") or ledger.begin(key, pod_name("bizcharts", HOME, key), "world", "run", now)
    return ledger.book(job.id, None, CANDIDATE, Decimal(usd), hours * 3600, caps, now, now)


def _pod(pod_id: str = "p") -> Pod:
    return Pod(pod_id, "bizcharts-aaaaaaaaaaaa", PodStatus.RUNNING, None, "A", None, "m")


@given(st.lists(st.text(max_size=3) | st.binary(max_size=3), min_size=1, max_size=4))
def test_a_key_tells_apart_whatever_is_told_apart(parts: list[str | bytes]) -> None:
    key = job_key("asset", *parts)
    assert key_of("bizcharts", HOME, pod_name("bizcharts", HOME, key)) == key
    assert job_key("asset", *parts, "") != key
    assert job_key("asset" + "x", *parts) != key
    if len(parts) > 1 and all(isinstance(part, str) for part in parts):
        assert job_key("asset", "".join(map(str, parts))) != key


NAME = pod_name("bizcharts", HOME, "0123456789ab")


@pytest.mark.parametrize(
    "name",
    [
        *("bizcharts", "bizcharts-", "bizcharts-notebook", "bizcharts-202611272330", "bizcharts-0123456789ab", "x"),
        *(NAME.upper(), NAME + "\n", NAME[:-1], NAME + "0", "x" + NAME, NAME.replace("0123", "0124")),
        pod_name("bizcharts2", HOME, "0123456789ab"),
        pod_name("bizcharts", "1f0c2b9f", "0123456789ab"),
    ],
)
def test_pods_of_other_names_are_not_ours(name: str) -> None:
    assert key_of("bizcharts", HOME, NAME) == "0123456789ab"
    assert key_of("bizcharts", HOME, name) is None


def _id_of(folder: Path) -> str:
    return installation_id(folder)


def test_processes_that_ask_at_once_get_one_installation_id_and_another_home_another(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        (found,) = set(pool.map(_id_of, [tmp_path / "home"] * 8))
    assert installation_id(tmp_path / "home") == found != installation_id(tmp_path / "other")
    file = tmp_path / "home" / "installation"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["installation"]
    file.write_text("something else")
    with pytest.raises(PodError, match="delete the file"):
        installation_id(tmp_path / "home")


def _spent_of(path: Path) -> Decimal:
    return PodLedger(path).spent().usd


def test_a_ledger_of_the_first_version_is_read_on_by_many_processes_at_once(tmp_path: Path) -> None:
    path = tmp_path / LEDGER
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((files("bizcharts_pipeline.pods") / "schema.sql").read_text())
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO jobs (key, name, provider, run_id, started_at) "
            "VALUES ('0123456789ab', 'bizcharts-0123456789ab', 'runpod', 'run', '2026-11-01T00:00:00.000000')"
        )
        connection.execute(
            "INSERT INTO pods (job, pod_id, state, usd_per_hour, nano_usd, created_at, deadline, launched) VALUES "
            "(1, 'p', 'running', '0.5', 2000000000, '2026-11-01T00:00:00.000000', '2026-11-01T04:00:00.000000', 1)"
        )
        connection.commit()
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        assert set(pool.map(_spent_of, [path] * 8)) == {Decimal(2)}
    ledger = PodLedger(path)
    (row,) = ledger.live("runpod")
    assert (row.pod_id, row.name, row.launched, row.ordered_at) == (
        *("p", "bizcharts-0123456789ab", True),
        datetime(2026, 11, 1),
    )
    assert (row.seen_at, row.told_at, row.missing_since, row.absences) == (None, None, None, 0)
    ledger.end(row.id, datetime(2026, 11, 1, 1))
    assert ledger.spent().usd == Decimal("0.5")


@given(
    st.decimals(min_value=0, max_value=100, places=4),
    st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=20),
)
def test_a_cost_is_never_less_than_its_parts_and_off_by_less_than_a_nano_each(
    price: Decimal, seconds: Sequence[float]
) -> None:
    exact = [price * Decimal(repr(part)) / 3600 for part in seconds]
    booked = [in_usd(budget.cost(price, part)) for part in seconds]
    assert all(0 <= cost - true <= Decimal("1.0001e-9") for cost, true in zip(booked, exact, strict=True))


def test_the_most_that_a_pod_may_cost_is_booked_until_it_has_ended(home: Path) -> None:
    ledger = PodLedger(home / LEDGER)
    row = _book(ledger, "a" * 12, "1.5", hours=3)
    assert ledger.spent("2026-11").booked_usd == Decimal("4.5")
    ledger.found(row, _pod())
    with pytest.raises(OverBudget, match="usd_per_run"):
        _book(ledger, "a" * 12, "0.51")
    with pytest.raises(OverBudget, match="usd_per_month"):
        _book(ledger, "b" * 12, "4", caps=Caps(Decimal(5), Decimal(8)))
    ledger.end(row, NOW + timedelta(minutes=20))
    spent = ledger.spent("2026-11")
    assert (spent.ended_usd, spent.booked_usd, spent.pods) == (Decimal("0.5"), 0, 1)
    # A pod counts for the month in which it was asked for.
    assert ledger.spent("2026-12").usd == 0
    _book(ledger, "b" * 12, "4", caps=Caps(Decimal(5), Decimal(5)), now=NOW + timedelta(hours=2))


def test_an_order_that_brought_no_pod_costs_nothing(home: Path) -> None:
    ledger = PodLedger(home / LEDGER)
    row = _book(ledger, "a" * 12, "1")
    ledger.end(row, NOW + timedelta(minutes=20))
    assert (ledger.spent().usd, ledger.spent().pods) == (0, 0)


def _try_to_book(path: Path, number: int) -> bool:
    try:
        _book(PodLedger(path), f"{number:012x}", "1", caps=Caps(Decimal(1), Decimal(3)))
    except OverBudget:
        return False
    return True


def test_jobs_that_begin_at_once_do_not_overrun_the_month(tmp_path: Path) -> None:
    path = tmp_path / LEDGER
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        booked = list(pool.map(_try_to_book, [path] * 8, range(8)))
    assert sum(booked) == 3
    assert PodLedger(path).spent().booked_usd == 3


def test_a_ledger_that_cannot_be_used_says_so_before_anything_is_rented(tmp_path: Path) -> None:
    path = tmp_path / LEDGER
    path.parent.mkdir()
    path.write_bytes(b"this is no database, however long it may be" * 100)
    with pytest.raises(PodLedgerError, match=r"pods\.sqlite"):
        PodLedger(path).live("world")
    path.unlink()
    forget(path)
    PodLedger(path).live("world")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(PodLedgerError, match="newer"):
        PodLedger(path).live("world")


def test_candidates_come_gpu_by_gpu_cloud_by_cloud() -> None:
    settings = PodSettings(gpus=("A", "B"), clouds=("COMMUNITY", "SECURE"), data_centers=("X", "Y"))
    wanted = candidates(settings)
    assert wanted[:3] == [
        Candidate("A", "COMMUNITY", "X"),
        Candidate("A", "COMMUNITY", "Y"),
        Candidate("A", "SECURE", "X"),
    ]
    assert len(wanted) == 8
    assert {candidate.data_center for candidate in candidates(PodSettings())} == {None}


def test_an_order_brings_no_secret_of_ours_and_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_secret")
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "http://127.0.0.1:9/")
    made = order(PodSettings(), "bizcharts-0123456789ab", CANDIDATE, "ssh-ed25519 AAAA bizcharts\n", 3600.9)
    assert made.environment == {
        "PUBLIC_KEY": "ssh-ed25519 AAAA bizcharts",
        "BIZCHARTS_TTL_SECONDS": "3600",
        "BIZCHARTS_CONTROL_URL": "http://127.0.0.1:9",
    }
    assert "rpa_secret" not in repr(made) + made.start_command + str(made.environment)
    assert not set(made.start_command) & set('"\\\n')


def test_a_second_pod_of_one_order_counts_against_the_budget_until_it_is_gone(home: Path) -> None:
    ledger = PodLedger(home / LEDGER)
    first = ledger.found(_book(ledger, "a" * 12, "1"), _pod("first"))
    stray = ledger.stray(first, _pod("second"), NOW)
    assert ledger.stray(first, _pod("second"), NOW).id == stray.id
    assert ledger.spent().booked_usd == 2
    ledger.end(stray.id, NOW + timedelta(minutes=6))
    assert (ledger.spent().booked_usd, ledger.spent().ended_usd) == (1, Decimal("0.1"))
    # It was listed again: it had not ended, and counts on.
    assert ledger.stray(first, _pod("second"), NOW + timedelta(minutes=9)).id == stray.id
    assert ledger.spent().booked_usd == 2
