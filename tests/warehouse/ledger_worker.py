"""A process of its own that writes to ledgers: ``ledger_worker.py KIND HOME WORDS NAME``.

What it has written is on its output, a line each. It may be killed and started again.
"""

import faulthandler
import sys
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.autolabel import budget
from bizcharts_pipeline.autolabel.budget import BudgetSpent, Caps, Charge
from bizcharts_pipeline.autolabel.keys import Run, Version
from bizcharts_pipeline.autolabel.ledger import LEDGER as AUTO_LABELS
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.core.ledgers import keep_in_postgres
from bizcharts_pipeline.http.request_budget import Allowance, BudgetExhausted, RequestLedger
from bizcharts_pipeline.labels.ledger import LEDGER as LABELS
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
from bizcharts_pipeline.prices.rotation import REQUESTS

NOW = datetime(2026, 3, 1, 12)
VERSION = Version("openai", "m", "chat", "v", "0" * 64)
POSTS = 40  # each labels
NANO, CAP = 10, 1_005  # of a request, and of the month: a hundred requests fit
PER_MONTH = 60  # requests to a price source


def label(home: Path, name: str) -> None:
    for thread in range(POSTS):
        LabelLedger(home / LABELS).append([Label(thread, 1 + thread % 3, name, NOW)])
        print(thread, flush=True)


def spend(home: Path, name: str) -> None:
    """Reserve until nothing is left; each second request is billed at half of that, and the others get no answer."""
    with AutoLabelLedger(home / AUTO_LABELS) as ledger:
        while True:
            with ledger.transaction() as connection:
                try:
                    booked = budget.reserve(connection, "k", VERSION, Run(name, NOW), NANO, Caps(None, CAP), None, 0.0)
                except BudgetSpent:
                    return
            print(booked, flush=True)
            if booked % 2:
                with ledger.transaction() as connection:
                    budget.settle(connection, booked, "ok", Charge("known", NANO // 2), NOW)


def ask(home: Path, name: str) -> None:
    ledger = RequestLedger(home / REQUESTS)
    for turn in range(2 * PER_MONTH):
        try:
            ledger.book("x", Allowance(10**6, PER_MONTH), NOW + timedelta(seconds=turn))
        except BudgetExhausted:
            return
        print(turn, flush=True)


if __name__ == "__main__":
    faulthandler.dump_traceback_later(600)  # it takes seconds
    kind, home, words, name = sys.argv[1:]
    keep_in_postgres(Path(home), words)
    {"label": label, "spend": spend, "ask": ask}[kind](Path(home), name)
