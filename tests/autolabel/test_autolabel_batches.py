"""Batches: handed in once and paid once, whatever is killed in between."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import pytest
from autolabel_world import HALF, OK, FakeBatches, LabelWorld, batches, status_counts, thread

from bizcharts_pipeline.autolabel.errors import BatchError
from bizcharts_pipeline.autolabel.protocol import Answer, BatchState, Outcome, Prompt, Question
from bizcharts_pipeline.labels.ledger import LEDGER as HUMAN_LEDGER
from bizcharts_pipeline.labels.ledger import Label, LabelLedger


def test_one_run_hands_in_and_the_next_collects_at_half_the_price(posts: LabelWorld) -> None:
    provider = FakeBatches()
    first = posts.label(provider)
    assert (batches(first).submitted, batches(first).questions) == (1, 30)
    assert status_counts(posts) == {"pending": 30}
    assert first.run.reserved_requests == 30
    second = posts.label(provider)
    assert (batches(second).collected, batches(second).answers) == (1, 30)
    assert status_counts(posts) == {"labelled": 30}
    with posts.ledger() as ledger:
        assert ledger.spent().usd == ledger.spent().known_usd == 30 * HALF
    third = posts.label(provider)
    assert (batches(third).collected, batches(third).submitted) == (0, 0)
    assert provider.billed.total() == 30


def test_what_runs_is_left_alone_and_never_handed_in_again(posts: LabelWorld) -> None:
    provider = FakeBatches(state_of_all=BatchState.RUNNING)
    for _ in range(3):
        report = posts.label(provider)
    assert batches(report).running == 1
    assert len(provider.batches) == 1


def test_a_run_that_dies_after_its_batch_was_made_leaves_it_to_be_found(posts: LabelWorld) -> None:
    provider = FakeBatches(die_after_create=True)
    with pytest.raises(KeyboardInterrupt):
        posts.label(provider)
    provider.die_after_create = False
    report = posts.label(provider)
    assert (batches(report).adopted, batches(report).answers) == (1, 30)
    assert (len(provider.batches), provider.billed.total()) == (1, 30)
    assert status_counts(posts) == {"labelled": 30}


def test_a_batch_that_is_not_found_is_waited_for_and_then_counts_as_paid(posts: LabelWorld) -> None:
    @dataclass
    class Dies(FakeBatches):
        def submit(self, run_key: str, prompt: Prompt, questions: object) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        posts.label(Dies())
    with posts.ledger() as ledger:
        assert ledger.spent().reserved_requests == 30
    provider = FakeBatches()
    assert batches(posts.label(provider)).questions == 0  # the service's list may lag behind
    posts.now += timedelta(hours=1)
    report = posts.label(provider)
    assert batches(report).questions == 30
    assert "not found" in batches(report).problems[0]
    posts.label(provider)
    with posts.ledger() as ledger:
        assert (ledger.spent().known_usd, ledger.spent().assumed_requests) == (30 * HALF, 30)


def test_when_nobody_knows_whether_a_batch_was_made_the_next_run_looks_for_it(posts: LabelWorld) -> None:
    @dataclass
    class Loses(FakeBatches):
        lost: bool = False

        def submit(self, run_key: str, prompt: Prompt, questions: list[Question]) -> str:
            made = super().submit(run_key, prompt, questions)
            if not self.lost:
                self.lost = True
                raise BatchError("no answer", BatchState.RUNNING)
            return made

    provider = Loses()
    assert posts.label(provider).faults
    report = posts.label(provider)
    assert (batches(report).adopted, report.faults) == (1, [])
    assert (len(provider.batches), status_counts(posts)) == (1, {"labelled": 30})


def test_what_expired_is_handed_in_again_under_a_new_key_and_paid_once(posts: LabelWorld) -> None:
    provider = FakeBatches(expire=lambda question: "7" in question.text)
    posts.label(provider)
    provider.expire = lambda question: False
    assert batches(posts.label(provider)).left_open == 3
    assert status_counts(posts) == {"labelled": 27, "pending": 3}
    posts.label(provider)
    assert status_counts(posts) == {"labelled": 30}
    assert provider.billed.total() == 30
    with posts.ledger() as ledger:
        spent = ledger.spent()
    # One answer of each batch names no question; where some have no answer, one of those counts as billed.
    assert (spent.known_usd, spent.assumed_requests) == (30 * HALF, 1)
    assert [len(questions) for questions in provider.batches.values()] == [30, 3]


@dataclass
class SlowResults(FakeBatches):
    """Shows its first answers, and what it has not worked on, before the rest."""

    shown: int = 24

    def collect(self, batch_id: str) -> Iterator[tuple[str, Answer]]:
        run_key = batch_id.removeprefix("batch-")
        worked_on = self.results[run_key]
        yield from ((question.key, OK) for question in worked_on[: self.shown])
        unanswered = Answer(Outcome.TRANSIENT, detail="not answered: batch_expired")
        yield from ((question.key, unanswered) for question in self.batches[run_key] if question not in worked_on)


@pytest.mark.parametrize("expired", [0, 3])
def test_results_that_are_still_being_written_are_waited_for_and_paid_once(posts: LabelWorld, expired: int) -> None:
    provider = SlowResults(expire=lambda question: expired > 0 and "7" in question.text)
    posts.label(provider)
    report = posts.label(provider)
    assert f"counts {30 - expired} answers but returned 24" in batches(report).problems[0]
    assert status_counts(posts) == {"labelled": 24, "pending": 6}
    assert len(provider.batches) == 1
    provider.shown, provider.expire = 30, lambda question: False
    for _ in range(2):
        posts.label(provider)
    assert status_counts(posts) == {"labelled": 30}
    assert provider.billed.total() == 30
    with posts.ledger() as ledger:
        spent = ledger.spent()
    assert (spent.known_usd, spent.assumed_requests, spent.reserved_requests) == (30 * HALF, 0, 0)


@dataclass
class DiesWhileCollecting(FakeBatches):
    left: int = 10

    def collect(self, batch_id: str) -> Iterator[tuple[str, Answer]]:
        for number, found in enumerate(super().collect(batch_id)):
            if number == self.left:
                raise KeyboardInterrupt
            yield found


def test_a_run_that_dies_while_collecting_loses_and_pays_nothing_twice(posts: LabelWorld) -> None:
    provider = DiesWhileCollecting()
    posts.label(provider)
    with pytest.raises(KeyboardInterrupt):
        posts.label(provider)
    assert status_counts(posts)["labelled"] == 10
    provider.left = 10_000
    posts.label(provider)
    assert status_counts(posts) == {"labelled": 30}
    with posts.ledger() as ledger:
        assert (ledger.spent().known_usd, ledger.spent().assumed_requests) == (30 * HALF, 0)


def test_what_is_too_big_is_split_and_a_full_queue_is_waited_for(posts: LabelWorld) -> None:
    provider = FakeBatches(largest=10)
    report = posts.label(provider)
    assert [len(questions) for questions in provider.batches.values()] == [8, 7, 8, 7]
    assert report.faults == []
    provider = FakeBatches(state_of_all=BatchState.OVERSIZED, model="m2")
    for expected in (30, 15, 7, 3):
        posts.label(provider)
        assert len(list(provider.batches.values())[-1]) == expected
    assert status_counts(posts)["pending"] == 60


def test_no_more_is_handed_in_than_there_is_money_for(posts: LabelWorld) -> None:
    provider = FakeBatches()
    report = posts.label(provider, labels={"usd_per_run": Decimal("0.003")})
    assert 0 < batches(report).questions < 30
    assert report.run.usd <= Decimal("0.003")
    assert report.providers[0].closing is not None
    assert report.providers[0].closing.kind == "budget"
    assert report.faults == []


def test_a_refused_batch_is_a_fault_and_its_posts_wait(posts: LabelWorld) -> None:
    provider = FakeBatches(state_of_all=BatchState.FAILED)
    posts.label(provider)
    report = posts.label(provider)
    assert "was refused" in report.faults[0]
    assert status_counts(posts) == {"pending": 30}
    with posts.ledger() as ledger:
        assert ledger.spent().usd == 0


def test_an_answer_of_a_batch_is_treated_as_any_other(posts: LabelWorld) -> None:
    answers = {
        "post 1 ": Answer(Outcome.REFUSED),
        "post 2 ": Answer(Outcome.MALFORMED, "{"),
        "post 3 ": Answer(Outcome.TRANSIENT),
        "post 4 ": Answer(Outcome.BUG),
    }

    def say(question: Question, times: int) -> Answer:
        return next((answer for text, answer in answers.items() if text in question.text), OK)

    provider = FakeBatches(say)
    for _ in range(3):
        posts.label(provider)
    assert dict(posts.rows()) == {
        **dict.fromkeys(range(1, 31), "labelled"),
        **{1: "refused", 2: "malformed", 3: "pending", 4: "failed"},
    }


def test_a_wrong_setting_fails_no_post_of_a_batch_and_is_a_fault(posts: LabelWorld) -> None:
    provider = FakeBatches(lambda question, times: Answer(Outcome.BUG, detail="400 unsupported_parameter"))
    for _ in range(8):
        report = posts.label(provider)
    assert "unsupported_parameter" in report.faults[0]
    assert status_counts(posts) == {"pending": 30}
    provider.say = lambda question, times: OK
    for _ in range(2):
        posts.label(provider)
    assert status_counts(posts) == {"labelled": 30}


def test_an_expired_batch_is_no_answer_and_a_batch_is_no_larger_than_the_service_takes(posts: LabelWorld) -> None:
    provider = FakeBatches(expire=lambda question: True, max_batch_bytes=30_000)
    posts.label(provider)
    assert max(len(questions) for questions in provider.batches.values()) < 30
    provider.expire = lambda question: False
    provider.say = lambda question, times: Answer(Outcome.MALFORMED, "?") if "post 1 " in question.text else OK
    for _ in range(2):
        posts.label(provider)
    assert status_counts(posts) == {"labelled": 29, "pending": 1}  # which is asked once more
    for _ in range(2):
        posts.label(provider)
    assert status_counts(posts) == {"labelled": 29, "malformed": 1}


def test_posts_that_are_flagged_before_the_batch_is_handed_in_are_not_in_it(posts: LabelWorld) -> None:
    people = LabelLedger(posts.home / HUMAN_LEDGER)

    @dataclass
    class Flags(FakeBatches):
        def submit(self, run_key: str, prompt: Prompt, questions: list[Question]) -> str:
            people.append([Label(n, None, "ann", posts.now, skipped=True, flag="illegal") for n in range(1, 31)])
            return super().submit(run_key, prompt, questions)

    provider = Flags(max_batch_bytes=30_000)
    posts.label(provider)
    assert len(provider.batches) == 1


def test_a_queue_that_was_full_once_leaves_no_small_batches(posts: LabelWorld) -> None:
    provider = FakeBatches(largest=0)
    assert batches(posts.label(provider)).submitted == 0
    provider.largest = 10_000
    posts.now += timedelta(minutes=15)
    assert batches(posts.label(provider)).questions == 30
    assert len(provider.batches) == 1


def test_batches_grow_again_after_a_refusal(posts: LabelWorld) -> None:
    provider = FakeBatches(largest=4)
    posts.label(provider)
    provider.largest = 10_000
    posts.label(provider)
    posts.put(*(thread(number) for number in range(100, 130)))
    sizes = []
    for _ in range(4):
        before = len(provider.batches)
        posts.label(provider)
        sizes += [len(batch) for batch in list(provider.batches.values())[before:]]
    assert sizes
    assert max(sizes) > 4


def test_a_batch_that_fails_again_for_the_same_reason_is_not_handed_in_for_a_day(posts: LabelWorld) -> None:
    provider = FakeBatches(state_of_all=BatchState.FAILED, why="billing_hard_limit_reached: Limit has been reached")
    for _ in range(6):
        report = posts.label(provider)
        posts.now += timedelta(minutes=15)
    assert len(provider.batches) == 2
    assert "billing_hard_limit_reached" in report.faults[0]
    posts.now += timedelta(days=1)
    posts.label(provider)
    assert len(provider.batches) == 3


def test_batches_that_failed_alike_are_handed_in_again_for_another_model_or_on_demand(posts: LabelWorld) -> None:
    provider = FakeBatches(state_of_all=BatchState.FAILED, why="billing_hard_limit_reached")
    for _ in range(4):
        posts.label(provider)
    assert len(provider.batches) == 2
    mended = FakeBatches(batches=provider.batches, results=provider.results)
    assert "retry_batches" in posts.label(mended).faults[0]
    labelling = replace(posts.labelling(mended), retry_batches=True)
    assert labelling.label_posts().faults == []
    assert len(provider.batches) == 3
    other = FakeBatches(model="m2")
    posts.label(other)
    assert len(other.batches) == 1
