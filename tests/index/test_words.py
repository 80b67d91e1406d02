from made_readings import reading

from bizcharts_pipeline.index.words import in_short, in_words, is_borderline, marks_borderline, notes
from bizcharts_pipeline.settings import FearGreedSettings

SETTINGS = FearGreedSettings()
NO_VALUE = {"value": None, "lo": None, "hi": None, "label": None}


def words(**columns):
    return in_words(reading(**columns), SETTINGS)


def test_a_reading_says_its_class_and_its_place_in_the_past():
    assert words() == "Extreme Fear: lower than 76 % of the past year's days"
    assert words(value=81.2, lo=78, hi=90, label="Extreme Greed", history_days=97) == (
        "Extreme Greed: higher than 81 % of the past 97 days"
    )


def test_an_interval_across_an_edge_is_borderline():
    crossing = reading(value=24.0, lo=11.0, hi=46.0)
    assert is_borderline(crossing)
    assert in_words(crossing, SETTINGS).startswith("Extreme Fear, borderline (Extreme Fear to Neutral): ")
    assert not is_borderline(reading(lo=1.0, hi=24.4))
    assert not is_borderline(reading(**NO_VALUE, state="calibrating"))


def test_calibrating_says_how_many_days_are_missing_and_no_class():
    said = words(**NO_VALUE, state="calibrating", history_days=37)
    assert said == "calibrating: no index yet, 23 more days of history needed"
    assert words(**NO_VALUE, state="calibrating", history_days=59).endswith("1 more day of history needed")


def test_a_state_says_its_reason():
    assert words(state="thin", n=40, n_eff=22.3).endswith(
        "; thin, read with caution: 40 posts in 24 hours, which count as 22"
    )
    assert words(state="thin", coverage=0.25).endswith("only 25% of the hours were collected")
    few = words(**NO_VALUE, state="no reading", n=9, n_eff=8.6)
    assert few == "no reading: 9 posts in 24 hours, which count as 9; at least 15 are needed"


def test_what_holds_for_most_rows_is_said_once_and_not_in_each():
    crossing, clear = reading(value=24.0, lo=11.0, hi=46.0), reading(value=20.0, lo=1.0, hi=24.4)
    few, most = [crossing, clear, clear], [crossing, crossing, clear]
    assert marks_borderline(few)
    assert not marks_borderline(most)
    assert in_short(crossing, mark=True) == "Extreme Fear ~"
    assert in_short(crossing, mark=False) == in_short(clear, mark=True) == "Extreme Fear"
    assert "~: borderline, the interval reaches another class" in notes(few, SETTINGS)
    assert "2 of 3 classes are borderline: the 90 % interval reaches another class" in notes(most, SETTINGS)
    assert not any("borderline" in line for line in notes([clear], SETTINGS))
