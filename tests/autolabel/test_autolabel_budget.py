"""The books: whatever the order of reserving, settling and dying, no cap is passed and nothing billed is missing."""

import tempfile
from datetime import datetime
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bizcharts_pipeline.autolabel import budget
from bizcharts_pipeline.autolabel.budget import BudgetSpent, Caps, Charge, LimitReached, Limits
from bizcharts_pipeline.autolabel.cost import Size
from bizcharts_pipeline.autolabel.keys import Inquiry, Run, Version
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.autolabel.protocol import Answer, Outcome, Price, Question, Usage
from bizcharts_pipeline.core.money import NANO
from bizcharts_pipeline.endpoints.ledger import EndpointRow
from bizcharts_pipeline.scoring.jobs import worker_terms

VERSION = Version("openai", "m", "chat", "v", "0" * 64)
MONTHS = (datetime(2026, 3, 1), datetime(2026, 4, 1))
FREE = Limits(10**9, 10**9)
NUMBERS = count()  # of ledgers
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("reserve", "reserve", "settle", "time out", "refuse", "settle twice")),
        st.integers(0, 3),  # run: two of each month
        st.integers(0, 40),  # worst case, and which booking to settle
        st.integers(0, 100),  # what it really cost, in per cent of the worst case
    ),
    max_size=60,
)


@given(steps=STEPS, per_run=st.integers(0, 300), per_month=st.integers(0, 500))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_order_of_events_passes_a_cap_or_loses_a_bill(
    home: Path, steps: list[tuple[str, int, int, int]], per_run: int, per_month: int
) -> None:
    runs = [Run(f"run-{number}", MONTHS[number % 2]) for number in range(4)]
    caps = Caps(per_run, per_month)
    with AutoLabelLedger(home / "ledgers" / f"l{next(NUMBERS)}.sqlite") as ledger:
        open_bookings: list[tuple[int, Run, int]] = []
        billed = dict.fromkeys(runs, 0)
        for what, run_number, size, share in steps:
            with ledger.transaction() as connection:
                if what == "reserve":
                    run = runs[run_number]
                    try:
                        booking = budget.reserve(connection, "k", VERSION, run, size, caps, FREE, 0.0)
                    except BudgetSpent:
                        continue
                    open_bookings.append((booking, run, size))
                elif open_bookings:
                    booking, run, worst = open_bookings.pop(size % len(open_bookings))
                    cost = 0 if what == "refuse" else worst if what == "time out" else worst * share // 100
                    billed[run] += cost if what != "time out" else worst * share // 100
                    basis = {"refuse": "free", "time out": "assumed"}.get(what, "known")
                    charged = Charge(basis, cost)  # type: ignore[arg-type]
                    assert budget.settle(connection, booking, "ok", charged, run.now)
                    if what == "settle twice":
                        assert not budget.settle(connection, booking, "ok", Charge("free", 0), run.now)
            totals = {run: ledger.spent(run_id=run.run_id) for run in runs}
            for run, spent in totals.items():
                dying = sum(size for _, owner, size in open_bookings if owner == run)  # may have been billed in full
                assert billed[run] <= spent.usd * NANO
                assert billed[run] + dying <= spent.usd * NANO
                assert spent.usd * NANO <= per_run
                assert spent.reserved_usd * NANO == dying
            for month in MONTHS:
                of_month = ledger.spent(month=Run("", month).month).usd
                assert of_month == sum(spent.usd for run, spent in totals.items() if run.now == month)
                assert of_month * NANO <= per_month


def test_a_question_is_claimed_by_one_run_and_not_asked_again_once_it_is_answered(home: Path) -> None:
    first, second, caps = Run("first", MONTHS[0]), Run("second", MONTHS[0]), Caps(10**12, 10**12)
    terms = worker_terms(EndpointRow("e", "m", "id", Decimal("0.4"), 60, 300, 600))
    inquiry = Inquiry(7, (Question("k", "text", None),))
    with AutoLabelLedger(home / "ledgers" / "l.sqlite") as ledger:
        ledger.register(VERSION, [inquiry], MONTHS[0])

        def claimed(run: Run, *, again: bool = False) -> int | None:
            return ledger.claim("k", VERSION, run, Size(1, False, 1, 1.0), terms, caps, 0.0, again=again)

        reservation = claimed(first)
        assert reservation is not None
        assert (claimed(second), claimed(second, again=True), claimed(first)) == (None, None, None)
        assert claimed(first, again=True) is not None
        answer = Answer(Outcome.OK, label="bullish", usage=Usage(0, 1), served=True)
        ledger.record("k", VERSION, reservation, answer, terms, "done", MONTHS[0])
        assert (claimed(first), claimed(first, again=True), claimed(second)) == (None, None, None)


def test_what_was_spent_can_not_be_rewritten(home: Path) -> None:
    with AutoLabelLedger(home / "ledgers" / "l.sqlite") as ledger:
        with ledger.transaction() as connection:
            run = Run("r", MONTHS[0])
            booking = budget.reserve(connection, "k", VERSION, run, 5, Caps(9, 9), None, 0.0)
            budget.settle(connection, booking, "ok", Charge("known", 3), run.now)
        for change in ("UPDATE reservations SET nano_usd = 0", "DELETE FROM settlements", "DELETE FROM reservations"):
            with pytest.raises(Exception, match="append-only"), ledger.transaction() as connection:
                connection.execute(change)
        assert ledger.spent().usd == Decimal(3) / NANO


@given(gaps=st.lists(st.floats(0, 40), min_size=1, max_size=60), most=st.integers(1, 6))
@settings(max_examples=30)
def test_no_minute_holds_more_requests_than_the_account_allows(gaps: list[float], most: int) -> None:
    sent: list[float] = []
    now, run = 1_000.0, Run("r", MONTHS[0])
    with tempfile.TemporaryDirectory() as folder, AutoLabelLedger(Path(folder) / "l.sqlite") as ledger:
        for gap in gaps:
            now += gap
            wait = 0.0
            for _ in range(2):
                now += wait
                try:
                    with ledger.transaction() as connection:
                        budget.reserve(connection, "k", VERSION, run, 0, Caps(1, 1), Limits(most, 10**6), now)
                    break
                except LimitReached as reached:
                    wait = reached.wait + 1e-6
            sent.append(now)
    for first in sent:
        assert sum(first <= at < first + 60 for at in sent) <= most


@pytest.mark.parametrize(
    ("answer", "basis", "nano"),
    [
        (Answer(Outcome.OK, usage=Usage(1_000, 10)), "known", 1_000 * 150 + 10 * 600),
        (Answer(Outcome.REFUSED, usage=Usage(1, 0)), "known", 150),
        (Answer(Outcome.OK), "assumed", 777),
        (Answer(Outcome.TIMEOUT), "assumed", 777),
        (Answer(Outcome.RATE), "free", 0),
        (Answer(Outcome.TRANSIENT), "free", 0),
        (Answer(Outcome.REFUSED), "free", 0),
        (Answer(Outcome.REFUSED, served=True), "assumed", 777),
    ],
)
def test_what_an_answer_cost_is_known_or_assumed_at_its_worst(answer: Answer, basis: str, nano: int) -> None:
    booked = nano if basis == "known" else 777
    charged = budget.charge(answer, Price(Decimal("0.15"), Decimal("0.60")), booked)
    assert (charged.basis, charged.nano_usd) == (basis, nano)


@pytest.mark.parametrize(("tokens", "nano"), [(1_000, 150_000), (10**9, 10**6), (10**30, 10**6)])
def test_a_report_of_a_cost_that_is_hardly_possible_uses_up_the_budget_and_no_more(tokens: int, nano: int) -> None:
    price = Price(Decimal("0.15"), Decimal("0.60"))
    charged = budget.charge(Answer(Outcome.OK, usage=Usage(tokens, 0)), price, 777, smallest_cap=10**6)
    assert (charged.basis, charged.nano_usd) == ("known", nano)
    assert "over 20 times the expected maximum" in str(charged.doubt)
    most = budget.charge(Answer(Outcome.OK, usage=Usage(tokens, 0)), price, 777, smallest_cap=1)
    assert most.nano_usd == 20 * 777
