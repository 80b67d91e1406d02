"""What a run does with each thing that a service may say."""

import time
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from autolabel_world import NOON, OK, FakeProvider, LabelWorld, cost, jpeg, statuses, thread

from bizcharts_pipeline.autolabel.estimate import estimate
from bizcharts_pipeline.autolabel.ledger import PromptChanged
from bizcharts_pipeline.autolabel.prompt import load_prompt
from bizcharts_pipeline.autolabel.protocol import Answer, Outcome, Question, Usage
from bizcharts_pipeline.labels.ledger import LEDGER as HUMAN_LEDGER
from bizcharts_pipeline.labels.ledger import GoldPost, Label, LabelLedger

REFUSED = Answer(Outcome.REFUSED, usage=Usage(900, 2), detail="declined")


def test_every_post_is_labelled_once_and_a_further_run_sends_nothing(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 41)), thread(41, "post 1 about coins"))
    provider = FakeProvider()
    report = world.label(provider)
    assert statuses(world) == dict.fromkeys(range(1, 42), "labelled")
    assert len(provider.asked) == 40  # the two posts that are alike share a question
    assert (report.run.known_usd, report.run.known_requests) == (cost(40), 40)
    assert sum(usd for (usd,) in world.rows("usd")) == cost(40)
    again = world.label(provider)
    assert len(provider.asked) == 40
    assert (again.rows_changed, again.left, again.run.usd) == (0, 0, 0)


def test_a_label_is_stored_with_all_that_makes_it_up(world: LabelWorld) -> None:
    world.put(thread(1))
    world.label(FakeProvider())
    (row,) = world.rows(
        "provider, model, endpoint, prompt_version, label, p_bearish, p_bullish, status, usd, model_returned, "
        "confidence_source, image_used, error, labeled_at"
    )
    assert row == (
        *("openai", "m", "chat", "stance-v1", "bullish", 0.1, 0.8, "labelled", cost(1), "gpt-4o-mini-2024-07-18"),
        *("logprobs", False, None, NOON),
    )


@pytest.mark.parametrize(
    ("answer", "sent", "status", "assumed"),
    [
        (Answer(Outcome.MALFORMED, "?", usage=Usage(900, 30)), 2, "malformed", 0),
        (Answer(Outcome.MALFORMED, "?"), 2, "malformed", 2),
        (REFUSED, 1, "refused", 0),
        (Answer(Outcome.REFUSED), 1, "refused", 0),
        (Answer(Outcome.TIMEOUT), 2 * 2 * 3, "failed", 2 * 2 * 3),
        (Answer(Outcome.TRANSIENT), 5 * 2 * 3, "failed", 0),
        (Answer(Outcome.RATE, retry_after=0.01), 6 * 2 * 3, "failed", 0),
        (Answer(Outcome.BAD_IMAGE), 1, "failed", 0),
        (Answer(Outcome.BUG, detail="no such field"), 1, "failed", 0),
        (replace(OK, usage=None), 1, "labelled", 1),
    ],
    ids=lambda value: getattr(value, "outcome", None) and f"{value.outcome}{'-billed' if value.usage else ''}",
)
def test_what_one_post_meets_with_among_others_that_are_answered(
    world: LabelWorld, monkeypatch: pytest.MonkeyPatch, answer: Answer, sent: int, status: str, assumed: int
) -> None:
    monkeypatch.setattr("bizcharts_pipeline.autolabel.dispatcher.FIRST_BACK_OFF_SECONDS", 0.001)
    world.put(*(thread(number) for number in range(1, 31)))
    monkeypatch.setattr("bizcharts_pipeline.autolabel.concurrency_limit.MIN_HOLD_SECONDS", 0.001)
    provider = FakeProvider(lambda question, times: answer if "post 7 " in question.text else OK)
    report = world.label(provider)
    if status == "failed" and sent > 1:  # put off twice a run, in three runs
        assert statuses(world)[7] == "pending"
        for _ in range(2):
            world.label(provider)
    if answer.outcome is Outcome.BUG:
        assert "no such field" in report.faults[0]
        world.label(provider)  # goes on with the others
    assert sum("post 7 " in question.text for question in provider.asked) == sent
    assert statuses(world) == dict.fromkeys(range(1, 31), "labelled") | {7: status}
    with world.ledger() as ledger:
        spent = ledger.spent()
    assert spent.assumed_requests == assumed
    assert spent.known_requests + spent.assumed_requests >= provider.billed.total()
    before = len(provider.asked)
    world.label(provider)
    assert len(provider.asked) == before


def test_a_fault_that_passes_leaves_no_trace_but_its_price(world: LabelWorld) -> None:
    faults = [Outcome.RATE, Outcome.TRANSIENT, Outcome.TIMEOUT, Outcome.MALFORMED]
    world.put(*(thread(number) for number in range(1, 41)))
    answers = [Answer(fault, retry_after=0.01 if fault is Outcome.RATE else None) for fault in faults]

    def say(question: Question, times: int) -> Answer:
        number = int(question.text.split("post ")[1].split()[0])
        return OK if times else answers[number % 4]

    provider = FakeProvider(say)
    report = world.label(provider)
    assert Counter(statuses(world).values()) == {"labelled": 40}
    assert len(provider.asked) == 80
    assert (report.run.known_requests, report.run.assumed_requests) == (40, 20)
    assert provider.billed.total() == 50  # the malformed answers of this service cost nothing


@pytest.mark.parametrize(
    "answer",
    [Answer(Outcome.STOP, detail="insufficient_quota"), Answer(Outcome.RATE, retry_after=3600, detail="slow down")],
    ids=["quota", "an hour's pause"],
)
def test_a_provider_that_cannot_go_on_is_left_alone_and_its_posts_wait(world: LabelWorld, answer: Answer) -> None:
    world.put(*(thread(number) for number in range(1, 101)))
    provider = FakeProvider(lambda question, times: answer if len(provider.asked) > 10 else OK)
    other = FakeProvider(name="gemini")
    report = world.label(provider, other, labels={"unsure_below": 1, "most_at_once": 4})
    assert answer.detail in report.faults[0]
    assert len(provider.asked) < 20
    labels = Counter(world.rows("provider, status"))
    assert labels["gemini", "labelled"] == labels["openai", "labelled"] == 10
    provider.say = lambda question, times: OK
    assert world.label(provider).faults == []
    assert Counter(world.rows("provider, status"))["openai", "labelled"] == 100


def test_an_outage_at_the_end_of_a_run_puts_no_post_to_blame(
    world: LabelWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bizcharts_pipeline.autolabel.dispatcher.FIRST_BACK_OFF_SECONDS", 0.001)
    world.put(*(thread(number) for number in range(1, 31)))
    answered: set[str] = set()

    def say(question: Question, times: int) -> Answer:
        if len(answered) >= 27:
            return Answer(Outcome.TRANSIENT, detail="503")
        answered.add(question.key)
        return OK

    world.label(FakeProvider(say), labels={"most_at_once": 1})
    assert Counter(statuses(world).values()) == {"labelled": 27, "pending": 3}
    world.label(FakeProvider())
    assert set(statuses(world).values()) == {"labelled"}


def test_a_post_whose_request_is_wrong_fails_in_the_third_run(world: LabelWorld) -> None:
    world.put(thread(1))
    provider = FakeProvider(lambda question, times: Answer(Outcome.BUG, detail="no such field"))
    for _ in range(3):
        assert world.label(provider).faults
    assert (statuses(world), world.label(provider).faults) == ({1: "failed"}, [])


def test_what_costs_more_than_booked_raises_the_bookings_by_as_much_and_not_for_ever(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 101)))
    dear = replace(OK, usage=Usage(9_000, 8))
    provider = FakeProvider(lambda question, times: dear, seconds=0.01)
    report = world.label(provider, labels={"usd_per_run": 100, "usd_per_month": 100, "per_run": 99})
    with world.ledger() as ledger, ledger.reading() as connection:
        least, most = connection.execute(
            "SELECT min(nano_usd), max(nano_usd) FROM reservations WHERE id > 1"
        ).fetchone()
    assert most <= 1.2 * 9_000 * 150
    assert report.faults == []
    world.now += timedelta(days=10)
    world.put(thread(101))
    world.label(FakeProvider(), labels={"most_at_once": 1})
    with world.ledger() as ledger, ledger.reading() as connection:
        assert connection.execute("SELECT nano_usd FROM reservations ORDER BY id DESC").fetchone()[0] < 1.2 * least


def test_a_cost_that_cannot_be_is_named_and_uses_up_the_limit_of_a_run(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 11)))
    lie = replace(OK, usage=Usage(10**9, 8))
    provider = FakeProvider(lambda question, times: OK if len(provider.asked) > 1 else lie)
    report = world.label(provider, labels={"most_at_once": 1})
    assert "1,000,000,000 tokens" in report.faults[0]
    assert (report.run.known_requests, report.run.usd) == (1, 1)
    assert list(statuses(world).values()).count("labelled") == 1
    world.label(provider, labels={"usd_per_run": 1000, "usd_per_month": 1000})
    assert set(statuses(world).values()) == {"labelled"}


@pytest.mark.parametrize(
    ("usage", "known"),
    [
        (Usage(0, 0), False),
        (Usage(1, 8), False),
        (Usage(12, 8, cached_tokens=20), False),
        (Usage(12, 8, cached_tokens=600), True),  # a gateway that counts what was read from a cache apart
        (Usage(500, 8), True),
    ],
)
def test_a_report_of_fewer_tokens_than_were_sent_counts_as_none(world: LabelWorld, usage: Usage, known: bool) -> None:
    world.put(*(thread(number) for number in range(1, 6)))
    provider = FakeProvider(lambda question, times: replace(OK, usage=usage))
    report = world.label(provider, labels={"most_at_once": 1})
    assert (report.run.known_requests, report.run.assumed_requests) == ((5, 0) if known else (0, 5))
    assert report.run.usd > 0
    assert report.faults == []
    assert set(statuses(world).values()) == {"labelled"}


def test_what_is_asked_after_midnight_is_of_the_new_month(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 5)))
    world.now = datetime(2026, 10, 31, 23, 59)

    def say(question: Question, times: int) -> Answer:
        world.now = datetime(2026, 11, 1)
        return OK

    world.label(FakeProvider(say), labels={"most_at_once": 1})
    with world.ledger() as ledger:
        assert [ledger.spent(month=month).known_requests for month in ("2026-10", "2026-11")] == [1, 3]


def test_a_service_that_asks_for_no_pause_is_given_one(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 31)))
    busy_until = time.monotonic() + 1
    provider = FakeProvider(
        lambda question, times: OK if time.monotonic() > busy_until else Answer(Outcome.RATE, retry_after=0.0)
    )
    assert world.label(provider).faults == []
    assert set(statuses(world).values()) == {"labelled"}


def test_the_second_is_not_asked_about_everything_when_the_first_has_no_key(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 11)))
    LabelLedger(world.home / HUMAN_LEDGER).freeze_gold([GoldPost(1, "2026-03", NOON)])
    second = FakeProvider(name="gemini")
    world.label(second, labels={"providers": ["openai", "gemini"]})
    assert len(second.asked) == 1


@pytest.mark.slow
@pytest.mark.fault("dropped network", stage="auto-labels", expected="the posts wait, and are labelled after the outage")
def test_an_outage_puts_no_post_to_blame(world: LabelWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bizcharts_pipeline.autolabel.dispatcher.FIRST_BACK_OFF_SECONDS", 0.001)
    world.put(*(thread(number) for number in range(1, 101)))
    provider = FakeProvider(lambda question, times: Answer(Outcome.TRANSIENT, detail="502"))
    for _ in range(5):
        report = world.label(provider)
        assert "in a row" in report.faults[0]
    assert set(statuses(world).values()) == {"pending"}
    provider.say = lambda question, times: OK
    world.label(provider)
    assert set(statuses(world).values()) == {"labelled"}


def test_a_provider_that_breaks_the_protocol_ends_its_part_and_stays_booked(world: LabelWorld) -> None:
    def raises(question: Question, times: int) -> Answer:
        raise RuntimeError("secret")

    world.put(thread(1))
    report = world.label(FakeProvider(raises))
    assert "RuntimeError" in report.faults[0]
    assert "secret" not in report.faults[0]
    assert report.run.assumed_requests == 1
    assert statuses(world) == {1: "pending"}


@pytest.mark.slow
def test_the_cap_of_a_run_and_of_the_month_hold_and_the_rest_waits(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 201)))
    provider = FakeProvider(seconds=0.002)
    per_run = {"usd_per_run": Decimal("0.005"), "usd_per_month": Decimal("0.012")}
    spent = []
    for _ in range(4):
        report = world.label(provider, labels=per_run)
        assert report.faults == []
        assert report.providers[0].closing is not None
        assert report.providers[0].closing.kind == "budget"
        spent.append(report.run.usd)
    assert max(spent) <= Decimal("0.005")
    assert sum(spent) <= Decimal("0.012")
    assert min(spent[:2]) > Decimal("0.004")  # and it does not stop long before
    assert spent[3] == 0
    assert sum(spent) == cost(len(provider.asked))
    world.now = NOON.replace(month=4)
    assert world.label(provider, labels=per_run).run.usd > 0


def test_a_refused_picture_is_left_out_then_the_other_provider_is_asked_then_people(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in (1, 2, 3, 4)))
    for number, colour in enumerate(("red", "green", "blue", "pink"), 1):
        world.picture(number, jpeg(colour), str(number) * 64)

    def first(question: Question, times: int) -> Answer:
        if "post 1 " in question.text:
            return OK
        if "post 2 " in question.text:
            return REFUSED if question.image else OK
        return REFUSED

    second = FakeProvider(lambda question, times: REFUSED if "post 4 " in question.text else OK, name="gemini")
    provider = FakeProvider(first)
    report = world.label(provider, second, labels={"unsure_below": 0})
    rows = world.rows("provider, thread_id, status, image_used, label")
    assert rows == [
        ("gemini", 3, "labelled", True, "bullish"),
        ("gemini", 4, "refused", False, None),
        ("openai", 1, "labelled", True, "bullish"),
        ("openai", 2, "labelled", False, "bullish"),
        ("openai", 3, "refused", False, None),
        ("openai", 4, "refused", False, None),
    ]
    assert len(provider.asked) == 1 + 2 + 2 + 2
    assert sum(usd for (usd,) in world.rows("usd")) == report.run.usd


def test_gold_comes_first_then_what_people_labelled_then_pictures(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 31)))
    people = LabelLedger(world.home / HUMAN_LEDGER)
    people.append([Label(number, 2, "ann", NOON) for number in (3, 11, 17)])
    people.freeze_gold([GoldPost(number, "2026-03", NOON) for number in (17, 29)])
    world.picture(5, jpeg(), "5" * 64)
    provider = FakeProvider()
    numbers = []
    for _ in range(6):
        world.label(provider, labels={"per_run": 1})
        numbers.append(int(provider.asked[-1].text.split("post ")[1].split()[0]))
    assert set(numbers[:2]) == {17, 29}
    assert set(numbers[2:4]) == {3, 11}
    assert numbers[4] == 5


def test_the_second_provider_is_asked_gold_and_what_the_first_was_unsure_of(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 11)))
    LabelLedger(world.home / HUMAN_LEDGER).freeze_gold([GoldPost(1, "2026-03", NOON)])
    unsure = replace(OK, probabilities=(0.3, 0.3, 0.4))
    without = replace(OK, probabilities=None, confidence_source=None)

    def say(question: Question, times: int) -> Answer:
        return unsure if "post 2 " in question.text else without if "post 3 " in question.text else OK

    second = FakeProvider(name="gemini")
    world.label(FakeProvider(say), second, labels={"unsure_below": 0.2})
    assert sorted(number for provider, number in world.rows("provider, thread_id") if provider == "gemini") == [1, 2]


def test_too_many_requests_at_once_are_halved_and_all_are_held_back(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 61)))

    def say(question: Question, times: int) -> Answer:
        crowded = provider._inside > 3
        return Answer(Outcome.RATE, retry_after=0.02) if crowded else OK

    provider = FakeProvider(say, seconds=0.005)
    world.label(provider)
    assert set(statuses(world).values()) == {"labelled"}
    assert len(provider.asked) < 60 + 40


def test_the_limits_of_the_account_hold_over_runs(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 31)))
    provider = FakeProvider()
    for asked in (20, 20):
        report = world.label(provider, openai={"requests_per_minute": 1000, "requests_per_day": 20})
        assert len(provider.asked) == asked
        assert report.faults == []
        assert report.providers[0].closing is not None
        assert report.providers[0].closing.kind == "limit"
    assert report.left == 10


def test_a_prompt_that_has_answers_is_never_changed(world: LabelWorld) -> None:
    prompt = load_prompt("stance-v1")
    world.put(thread(1))
    with world.ledger() as ledger:
        ledger.use_prompt(replace(prompt, sha256="0" * 64), NOON)  # a draft without answers
    world.label(FakeProvider())
    with world.ledger() as ledger, pytest.raises(PromptChanged, match="new name"):
        ledger.use_prompt(replace(prompt, sha256="1" * 64), NOON)


def test_an_estimate_sends_nothing_and_counts_what_is_paid(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 11)))
    provider, settings = FakeProvider(model="gpt-4o-mini"), world.settings()
    before = estimate(world.database, world.home, settings, NOON).providers[0]
    assert (before.posts, before.with_picture, before.already_paid) == (10, 0, 0)
    assert 0 < before.likely_usd < before.worst_usd
    assert provider.asked == []
    world.label(provider)
    after = estimate(world.database, world.home, settings, NOON)
    assert (after.providers[0].posts, after.providers[0].already_paid) == (0, 10)
    assert after.month.known_usd == cost(10)


def test_a_text_that_changed_is_asked_anew_only_under_a_new_version(world: LabelWorld) -> None:
    world.put(thread(1))
    provider = FakeProvider()
    world.label(provider)
    world.put(thread(1, "post 1 says something else"))
    world.label(provider)
    assert len(provider.asked) == 1
    provider.model = "m2"
    world.label(provider)
    assert len(provider.asked) == 2
    assert world.rows("model, status") == [("m", "labelled"), ("m2", "labelled")]
