"""Alerts on the index: a change is one event, noise at an edge is none."""

from datetime import timedelta

from alerts_world import BEGIN, hours, reading

from bizcharts_pipeline.alerts.events import Event
from bizcharts_pipeline.alerts.index_events import class_changes, shifts
from bizcharts_pipeline.settings import AlertSettings, FearGreedSettings
from bizcharts_pipeline.warehouse.published import Reading

PARAMETERS = FearGreedSettings()
NO_PAUSE = AlertSettings(class_pause_hours=0, shift_pause_hours=0)


def changes(readings: list[Reading], settings: AlertSettings = NO_PAUSE) -> list[Event]:
    return class_changes(readings, None, None, settings, PARAMETERS)[0]


def test_a_value_that_crosses_an_edge_to_and_fro_gives_no_event() -> None:
    assert changes(hours(44, 46, 44, 46.4, 44, 45, 43)) == []


def test_a_change_of_class_is_one_event_and_the_way_back_another() -> None:
    events = changes(hours(40, None, 50, 50, 46, 42))
    assert [event.title for event in events] == ["BizCharts: Fear to Neutral", "BizCharts: Neutral to Fear"]
    assert [event.occasion for event in events] == ["2026-11-28T02:00:00|Neutral", "2026-11-28T05:00:00|Fear"]


def test_the_class_follows_the_printed_value() -> None:
    assert changes(hours(40, 46.4)) == []  # printed 46, one point beyond 45
    assert len(changes(hours(40, 46.6))) == 1  # printed 47


def test_a_change_within_the_pause_is_delayed_and_one_that_was_undone_is_no_event() -> None:
    settings = AlertSettings(class_pause_hours=4)
    events = changes(hours(40, 50, 80, 80, 80, 80, 80), settings)
    assert [event.title for event in events] == ["BizCharts: Fear to Neutral", "BizCharts: Neutral to Extreme Greed"]
    assert events[1].happened_at - events[0].happened_at == timedelta(hours=4)
    assert len(changes(hours(40, 50, 80, 50, 50, 50, 50), settings)) == 1


def test_hours_searched_one_by_one_give_the_events_of_all_at_once() -> None:
    series = hours(40, 46, 50, 44, 41, 80, 76, 74, 20, 24, 30, 60)
    settings, held, last, events = AlertSettings(class_pause_hours=2), None, None, []
    for one in series:
        found, held = class_changes([one], held, last, settings, PARAMETERS)
        last = found[-1].happened_at if found else last
        events += found
    assert events == changes(series, settings)
    assert len(events) > 2


def test_a_provisional_hour_gives_no_event() -> None:
    running = hours(0, 90, final=False)[1:]
    assert changes([*hours(40), *running]) == shifts([*hours(40), *running], None, NO_PAUSE, PARAMETERS) == []


def test_a_shift_counts_between_adjacent_hours_only_and_once_within_its_pause() -> None:
    series = hours(40, 61, None, 10, 30, 50)
    assert [event.occasion[11:13] for event in shifts(series, None, NO_PAUSE, PARAMETERS)] == ["01", "04", "05"]
    paused = AlertSettings(shift_pause_hours=4)
    assert [event.occasion[11:13] for event in shifts(series, None, paused, PARAMETERS)] == ["01", "05"]
    assert shifts(hours(40, 55), None, NO_PAUSE, PARAMETERS) == []  # not more than 15


def test_a_message_has_value_interval_class_rank_and_time_in_utc_and_no_address() -> None:
    (event,) = changes(hours(40, 50))
    assert event.message.splitlines() == [
        "The index left Fear.",
        "At 2026-11-28 02:00 UTC: index 50 (90 % interval 45 to 55)",
        "Neutral: higher than 50 % of the past year's days",
        f"Event {event.number}",
    ]


def test_a_shift_at_a_change_of_the_model_says_so() -> None:
    series = [reading(BEGIN, 40), reading(BEGIN + timedelta(hours=1), 70, model="minilm-1")]
    (event,) = shifts(series, None, NO_PAUSE, PARAMETERS)
    assert event.title == "BizCharts: the index rose 30 points within an hour"
    assert "The scoring model changed between the two hours" in event.message
