"""Results of reads: kept while they hold, and no longer."""

import threading

import pytest

from bizcharts_pipeline.app.queries.cached import KEPT_SECONDS, MAX_RESULTS, Results


def test_a_result_is_read_once_until_its_state_has_changed() -> None:
    results, reads = Results(), iter(range(10))
    answers = [results.get("index", stamp, lambda: next(reads)) for stamp in ("a", "a", "b", "b", "a")]
    assert answers == [0, 0, 1, 1, 2]


def test_a_page_that_stays_open_for_days_keeps_one_result() -> None:
    results = Results()
    for minute in range(5000):
        results.get("index", minute, lambda: b"x" * 1000)
    assert len(results) == 1


def test_what_nobody_asks_for_is_given_up() -> None:
    now = 0.0
    results = Results(clock=lambda: now)
    for hour in range(3 * MAX_RESULTS):
        results.get(("range", hour), "a", object)
    assert len(results) == MAX_RESULTS
    now = KEPT_SECONDS + 1
    results.get("another", "a", object)
    assert len(results) == 1


def test_an_error_is_not_kept() -> None:
    results = Results()
    with pytest.raises(ZeroDivisionError):
        results.get("index", "a", lambda: 1 // 0)
    assert results.get("index", "a", lambda: 7) == 7


def test_pages_that_ask_at_once_read_once() -> None:
    results, reads = Results(), []
    begun, go_on = threading.Event(), threading.Event()

    def read() -> int:
        reads.append(1)
        begun.set()
        go_on.wait(10)
        return 7

    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(results.get("i", "a", read))) for _ in range(5)]
    for thread in threads:
        thread.start()
    begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert answers == [7] * 5
    assert reads == [1]
