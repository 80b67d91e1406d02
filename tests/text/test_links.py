"""Hosts that a text links to."""

import pytest

from bizcharts_pipeline.text.links import link_hosts


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("buy at https://www.Pump.io/x and http://pump.io", {"pump.io"}),
        ("www.moon-coin.net!", {"moon-coin.net"}),
        ("https://app.one.io/a?u=https://two.io", {"app.one.io", "two.io"}),
        ("https://youtube.com/x https://m.youtube.com/y https://en.wikipedia.org/z", set()),
        ("https://notyoutube.com", {"notyoutube.com"}),
        ("https://pump\u200b.io", {"pump.io"}),  # a character that nobody sees
        ("no link, but a.b and https:// alone", set()),
        ("", set()),
    ],
)
def test_links_name_their_hosts_without_common_ones(text: str, hosts: set[str]) -> None:
    assert link_hosts(text) == hosts
