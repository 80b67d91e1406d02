from datetime import datetime, timedelta
from xml.etree import ElementTree

from bizcharts_pipeline.index.plot import svg_plot

NAME = "{http://www.w3.org/2000/svg}"


def test_the_picture_is_small_well_formed_and_shows_gaps_and_calibration():
    start = datetime(2025, 1, 1)
    rows = [(start + timedelta(hours=h), 50.0, 40.0, 60.0, "calibrating") for h in range(1000)]
    rows += [(start + timedelta(hours=1000 + h), None, None, None, "no reading") for h in range(50)]
    rows += [(start + timedelta(hours=1050 + h), 0.0, 0.0, 12.0, "normal") for h in range(500)]
    picture = svg_plot(rows, title="<script>alert('&')</script>")
    drawn = ElementTree.fromstring(picture)
    lines = drawn.findall(f"{NAME}polyline")
    assert [line.get("stroke-dasharray") for line in lines] == ["4 3", None]
    assert sum(len(line.get("points", "").split()) for line in lines) <= 200
    assert drawn.findall(f"{NAME}text")[0].text == "<script>alert('&')</script>"
    assert len(picture) < 20_000


def test_nothing_and_a_single_row_can_be_drawn():
    ElementTree.fromstring(svg_plot([]))
    assert "<circle" in svg_plot([(datetime(2025, 1, 1), 50.0, 40.0, 60.0, "normal")])
