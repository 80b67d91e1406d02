"""Where a server cannot listen, its error names what to change."""

from contextlib import closing

import pytest

from bizcharts_pipeline.core.listening import PortTaken, listening_socket


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("no-such-host.invalid", "--host"),
        ("192.0.2.1", "--host"),
        (" ", "--host"),
        ("", "--host"),
        ("127.0.0.1", "--port"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_the_option_to_change(host: str, names: str) -> None:
    with closing(listening_socket("127.0.0.1", 0)) as taken, pytest.raises(PortTaken, match=f"{names}.$"):
        listening_socket(host, taken.getsockname()[1])
