"""2,000 posts through the real SDKs on a bad day, killed twice: each ends labelled or named, and paid as booked.

The equations that hold at the end, in requests and in USD, with ``orphaned`` what a killed run had under way:

- ``known + unseen <= billed <= known + unseen + orphaned + failed``. An orphan may have been answered, refused free of
  charge, or not even have left; nobody can tell, so it counts as spent. Nobody can tell either whether a gateway, as
  every host but the service's own counts, failed (500) before the work or after it. Without both all are equal.
- ``known USD <= bill <= booked USD``, and no run has booked more than its cap.
- A kill orphans at most as many requests as may be under way at once; a batch of which nobody knows whether it was
  made, and that is not found later, all of its own.
"""

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from installation import Installation
from labelling_world import TRUTH, Labelling

from bizcharts_pipeline.autolabel.protocol import Price
from bizcharts_pipeline.demo.label_apis.oracle import Oracle
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.label_apis.wire import BatchFault, LabelFault

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]

POSTS = int(os.environ.get("BIZCHARTS_TEST_LABEL_POSTS", "2000"))
MAX_AT_ONCE = 32
SHARE = Decimal(POSTS) / 2000  # of the caps that end a run early
WAYS = [("openai", "chat"), ("openai", "decisions"), ("gemini", "chat")]
BATCH_WAYS = [("openai", "batch"), ("gemini", "batch")]
RATES = {
    LabelFault.RATE: 0.05,
    LabelFault.SERVER_ERROR: 0.05,
    LabelFault.HANG: 0.05,
    LabelFault.GATEWAY_TIMEOUT: 0.02,
    LabelFault.REFUSAL: 0.01,
    LabelFault.MALFORMED: 0.01,
}


@pytest.fixture
def apis() -> Iterator[SimulatedLabelApis]:
    with SimulatedLabelApis(Oracle(TRUTH, 1.0), rates=RATES) as server:
        server.retry_after = "0.05"
        yield server


def installed(folder: Path, apis: SimulatedLabelApis, provider: str, endpoint: str, lake: str = "") -> Labelling:
    installation = Installation(folder, "http://127.0.0.1:9", lake=lake)
    return Labelling(installation, apis, provider, endpoint, POSTS, dagster=True)


def check(posts: Labelling, orphans: int) -> None:
    """The promise of this file."""
    statuses, books, bill = posts.statuses, posts.books, posts.apis.bill()
    print(posts.provider, posts.endpoint, statuses, books, bill.requests, bill.answered, bill.hung, bill.usd)
    assert sum(statuses.values()) == POSTS
    assert statuses.keys() <= {"labelled", "refused", "malformed", "failed"}
    assert statuses["labelled"] > 0.95 * POSTS
    assert posts.wrong_labels() == []
    assert books.open == 0
    seen = books.known + books.unseen
    assert seen <= bill.requests <= seen + books.orphaned + books.failed
    assert books.known <= bill.answered
    assert books.orphaned <= orphans
    assert books.known_usd <= bill.usd <= books.usd
    assert max(books.usd_of_runs.values()) <= posts.usd_per_run


@pytest.mark.parametrize(("provider", "endpoint"), WAYS)
def test_two_thousand_posts_one_by_one(
    tmp_path: Path, apis: SimulatedLabelApis, provider: str, endpoint: str, engine: str
) -> None:
    posts = installed(tmp_path, apis, provider, endpoint, engine)
    posts.kill(lambda sent: apis.bill().requests >= POSTS // 10)
    posts.kill(lambda sent: apis.bill().requests >= POSTS // 3)
    said = posts.run(Decimal("0.03") * SHARE)
    assert "pending" in posts.statuses, said
    posts.run_until_done()
    check(posts, orphans=2 * MAX_AT_ONCE)
    hung = apis.bill().hung
    assert 0.03 * POSTS < hung < 0.11 * POSTS + 10  # few posts scatter more


@pytest.mark.parametrize(("provider", "endpoint"), BATCH_WAYS)
def test_two_thousand_posts_in_batches_that_expire(
    tmp_path: Path, apis: SimulatedLabelApis, provider: str, endpoint: str, engine: str
) -> None:
    apis.openai_batches.script.extend([None, BatchFault.EXPIRED, BatchFault.TOO_MANY_TOKENS])
    apis.gemini.batch_script.extend([None, BatchFault.EXPIRED])
    creation = "/batches" if provider == "openai" else ":batchGenerateContent"
    result = "/content" if provider == "openai" else "/batches/"
    posts = installed(tmp_path, apis, provider, endpoint, engine)
    # A run that is killed while the service creates the batch, and one that is killed while it collects another.
    apis.fail_next("hang", on=creation)
    posts.kill(lambda sent: any(record.path.endswith(creation) for record in sent))
    posts.kill(lambda sent: any(result in record.path for record in sent))
    posts.run_until_done(may_fail=True)
    check(posts, orphans=POSTS)
    assert apis.bill().paid_twice <= 0.1 * POSTS  # malformed answers are asked for once more


def test_without_a_kill_what_is_booked_is_the_bill_to_the_request(tmp_path: Path, apis: SimulatedLabelApis) -> None:
    posts = installed(tmp_path, apis, "openai", "chat")
    posts.run_until_done()
    check(posts, orphans=0)
    books, bill = posts.books, apis.bill()
    assert (books.known + books.unseen, books.orphaned) == (bill.answered + bill.hung, 0)


@pytest.mark.parametrize(
    ("provider", "model", "prices"),
    [
        ("openai", "gpt-4o", ""),
        ("openai", "gpt-6-luna", ""),
        ("openai", "gpt-6-sol", ""),
        ("openai", "acme-vision-1", '{"acme-vision-1": {"input": "1.10", "output": "3.30", "cache_write": "1.10"}}'),
        ("gemini", "gemini-3.5-flash-lite", ""),
    ],
)
def test_the_bill_of_every_priced_model_stays_within_what_is_booked_and_the_cap(
    tmp_path: Path, apis: SimulatedLabelApis, provider: str, model: str, prices: str
) -> None:
    apis.books.cache_write_share = 0.9
    installation = Installation(tmp_path, "http://127.0.0.1:9")
    posts = Labelling(installation, apis, provider, "chat", POSTS, usd_per_run=Decimal(20), model=model, prices=prices)
    installation.extra["BIZCHARTS_AUTO_LABELS__USD_PER_MONTH"] = "100"
    said = posts.run(Decimal("0.05") * SHARE)
    assert "pending" in posts.statuses, said
    posts.run_until_done()
    check(posts, orphans=0)


def test_a_service_on_this_machine_may_cost_nothing(tmp_path: Path, apis: SimulatedLabelApis) -> None:
    prices = '{"gpt-4o": {"input": 0, "output": 0}}'
    apis.books.prices["gpt-4o"] = Price(Decimal(0), Decimal(0))
    installation = Installation(tmp_path, "http://127.0.0.1:9")
    posts = Labelling(installation, apis, "openai", "chat", POSTS, model="gpt-4o", prices=prices)
    posts.run_until_done()
    check(posts, orphans=0)
    assert posts.books.usd == 0
