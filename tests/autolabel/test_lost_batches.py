"""Batches that cannot be read, or bring no answer: what was paid for them is booked, and is not paid without end."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from autolabel_world import HALF, OK, FakeBatches, LabelWorld, batches, status_counts

from bizcharts_pipeline.autolabel.errors import BatchError
from bizcharts_pipeline.autolabel.protocol import Answer, BatchState, Outcome


def test_results_that_got_lost_are_booked_and_not_bought_without_limit(posts: LabelWorld) -> None:
    @dataclass
    class Empty(FakeBatches):
        def collect(self, batch_id: str) -> Iterator[tuple[str, Answer]]:
            return iter(())

        def answered(self, batch_id: str) -> int:
            return 0

    provider = Empty()
    for _ in range(8):
        posts.label(provider)
    assert status_counts(posts) == {"failed": 30}
    assert provider.billed.total() == 3 * 30
    with posts.ledger() as ledger:
        assert (ledger.spent().assumed_requests, ledger.spent().reserved_requests) == (3 * 30, 0)


@pytest.mark.parametrize(("state", "booked"), [(BatchState.GONE, "assumed"), (BatchState.RUNNING, "reserved")])
def test_a_batch_that_cannot_be_looked_up_keeps_nobody_from_the_others(
    posts: LabelWorld, state: BatchState, booked: str
) -> None:
    lost: list[str] = []

    @dataclass
    class Loses(FakeBatches):
        def find(self, run_key: str) -> str | None:
            return None if run_key in lost else super().find(run_key)

        def state(self, batch_id: str) -> BatchState:
            if batch_id.removeprefix("batch-") in lost:
                raise BatchError("404: no such batch", state)
            return super().state(batch_id)

    provider = Loses(state_of_all=BatchState.RUNNING)
    for _ in range(2):
        posts.label(provider, labels={"per_run": 15})
    lost.append(next(iter(provider.batches)))
    provider.state_of_all = BatchState.ENDED
    report = posts.label(provider, labels={"per_run": 1})
    assert (batches(report).collected, report.faults) == (1, [])
    assert status_counts(posts)["labelled"] == 15
    assert batches(report).problems
    with posts.ledger() as ledger:
        spent = ledger.spent()
    assert {"assumed": spent.assumed_requests, "reserved": spent.reserved_requests}[booked] >= 15
    posts.now += timedelta(days=4)
    posts.label(provider)
    with posts.ledger() as ledger:
        assert ledger.spent().assumed_requests == 15


def test_a_batch_that_nobody_looked_at_for_days_is_not_lost_by_one_failed_look(posts: LabelWorld) -> None:
    away: list[bool] = []

    @dataclass
    class Away(FakeBatches):
        def state(self, batch_id: str) -> BatchState:
            if away:
                raise BatchError("503: away", BatchState.RUNNING)
            return super().state(batch_id)

    provider = Away(state_of_all=BatchState.RUNNING)
    posts.label(provider)
    posts.now += timedelta(days=5)
    away.append(True)
    assert "503: away" in posts.label(provider).faults[0]
    away.clear()
    posts.now += timedelta(days=5)
    posts.label(provider)  # the service tells about it: the three days begin anew
    away.append(True)
    posts.label(provider)
    away.clear()
    provider.state_of_all = BatchState.ENDED
    posts.label(provider)
    assert status_counts(posts) == {"labelled": 30}
    assert provider.billed.total() == 30
    with posts.ledger() as ledger:
        assert (ledger.spent().known_usd, ledger.spent().assumed_requests) == (30 * HALF, 0)


def test_batches_of_a_model_that_is_no_longer_configured_stay_booked_until_it_is_again(posts: LabelWorld) -> None:
    provider, other = FakeBatches(), FakeBatches(model="m2")
    posts.label(provider)
    for _ in range(2):
        posts.label(other)
    with posts.ledger() as ledger:
        assert (ledger.spent().reserved_requests, ledger.spent().known_requests) == (30, 30)
    assert status_counts(posts) == {"pending": 30, "labelled": 30}
    posts.label(provider)
    assert status_counts(posts) == {"labelled": 60}
    with posts.ledger() as ledger:
        assert (ledger.spent().reserved_requests, ledger.spent().assumed_requests) == (0, 0)


def test_a_post_that_was_paid_for_in_three_batches_without_an_answer_has_failed(posts: LabelWorld) -> None:
    late = Answer(Outcome.TIMEOUT, detail="504")
    provider = FakeBatches(lambda question, times: late if "post 7 " in question.text else OK)
    for _ in range(6):
        posts.label(provider)
    assert dict(posts.rows()) == {**dict.fromkeys(range(1, 31), "labelled"), 7: "failed"}
    assert [len(questions) for questions in provider.batches.values()] == [30, 1, 1]
    with posts.ledger() as ledger:
        assert ledger.spent().assumed_requests == 3
