from datetime import datetime, timedelta
from xml.etree import ElementTree

from made_readings import reading

from bizcharts_pipeline.index.plot import svg_plot

NAME = "{http://www.w3.org/2000/svg}"
START = datetime(2025, 1, 1)


def hour(number: int, **columns):
    return reading(bucket_start=START + timedelta(hours=number), **columns)


def test_the_image_is_small_and_well_formed_and_leaves_gaps_where_there_is_no_index():
    rows = [hour(h, value=None, lo=None, hi=None, state="calibrating") for h in range(500)]
    rows += [hour(500 + h, value=50.0, lo=40.0, hi=60.0) for h in range(500)]
    rows += [hour(1000 + h, value=None, lo=None, hi=None, state="no reading") for h in range(50)]
    rows += [hour(1050 + h, value=0.0, lo=0.0, hi=12.0) for h in range(500)]
    image = svg_plot(rows, title="<script>alert('&')</script>", caption="Fear & more")
    drawn = ElementTree.fromstring(image)
    lines = drawn.findall(f"{NAME}polyline")
    assert len(lines) == 2
    assert sum(len(line.get("points", "").split()) for line in lines) <= 140
    assert [text.text for text in drawn.findall(f"{NAME}text")[:2]] == ["<script>alert('&')</script>", "Fear & more"]
    assert len(image) < 20_000


def test_while_calibrating_the_stance_is_drawn_on_an_axis_without_classes():
    rows = [hour(h, value=None, lo=None, hi=None, state="calibrating") for h in range(50)]
    image = svg_plot(rows)
    words = [text.text for text in ElementTree.fromstring(image).findall(f"{NAME}text")]
    assert "Fear/Greed on /biz/: stance, no index yet" in words
    assert {"bullish", "bearish"} <= set(words)
    assert not {"Fear", "Greed", "Neutral", "50", "100"} & set(words)
    assert "<polyline" in image


def test_nothing_and_a_single_row_can_be_drawn():
    ElementTree.fromstring(svg_plot([]))
    assert "<circle" in svg_plot([hour(0)])
