"""A small board labelled by a model on a bad day: in the end each post has its label or its reason, paid as booked.

The long version, with 2,000 posts and every endpoint, is tests/acceptance/test_two_thousand_auto_labels.py.
"""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from installation import Installation
from labelling_world import TRUTH, Labelling

from bizcharts_pipeline.demo.label_apis.oracle import Oracle
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.label_apis.wire import BatchFault, LabelFault

POSTS = 120
RATES = {
    LabelFault.RATE: 0.05,
    LabelFault.SERVER_ERROR: 0.05,
    LabelFault.HANG: 0.05,
    LabelFault.REFUSAL: 0.02,
    LabelFault.MALFORMED: 0.02,
}


@pytest.fixture
def labelling(tmp_path: Path) -> Callable[..., Labelling]:
    def made(apis: SimulatedLabelApis, provider: str, endpoint: str) -> Labelling:
        apis.retry_after = "0.05"
        return Labelling(Installation(tmp_path, "http://127.0.0.1:9"), apis, provider, endpoint, POSTS)

    return made


@pytest.mark.slow
def test_every_post_ends_with_a_label_or_a_reason_and_the_books_are_the_bill(
    labelling: Callable[..., Labelling],
) -> None:
    with SimulatedLabelApis(Oracle(TRUTH, 1.0), rates=RATES) as apis:
        posts = labelling(apis, "openai", "chat")
        posts.kill(lambda sent: apis.bill().requests >= 30)
        capped = posts.run(Decimal("0.004"))
        assert "pending" in posts.statuses, capped
        posts.run_until_done()
        statuses, books, bill = posts.statuses, posts.books, apis.bill()
        wrong = posts.wrong_labels()
    assert sum(statuses.values()) == POSTS
    assert statuses.keys() <= {"labelled", "refused", "malformed", "failed"}
    assert statuses["labelled"] > 100
    assert wrong == []
    assert books.open == 0
    # All that was billed is booked; what was booked and not billed was under way at the kill, or failed by a gateway.
    seen = books.known + books.unseen
    assert seen <= bill.requests <= seen + books.orphaned + books.failed
    assert books.known <= bill.answered
    assert books.known_usd <= bill.usd <= books.usd
    assert sorted(books.usd_of_runs.values())[-1] <= posts.usd_per_run


@pytest.mark.slow
def test_a_batch_that_expired_and_one_that_was_never_acknowledged_are_paid_once(
    labelling: Callable[..., Labelling],
) -> None:
    with SimulatedLabelApis(Oracle(TRUTH, 1.0)) as apis:
        apis.openai_batches.script.append(BatchFault.EXPIRED)
        posts = labelling(apis, "openai", "batch")
        apis.fail_next("hang", on="/batches")
        posts.kill(lambda sent: any(record.path.endswith("/batches") for record in sent))
        posts.kill(lambda sent: any(record.path.endswith("/content") for record in sent))
        posts.run_until_done()
        statuses, books, bill = posts.statuses, posts.books, apis.bill()
        assert posts.wrong_labels() == []
    assert statuses == {"labelled": POSTS}
    assert bill.paid_twice == 0
    assert (books.known, books.known_usd) == (bill.requests, bill.usd)
    assert (books.unseen, books.orphaned, books.open) == (0, 0, 0)
