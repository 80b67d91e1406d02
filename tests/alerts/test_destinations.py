"""Destinations: services that only take messages, named without their address."""

import pytest

from bizcharts_pipeline.alerts.destinations import REFUSED_PARAMETERS, VARIABLE, destinations
from bizcharts_pipeline.alerts.errors import BadDestination

CANARY = "canary0123456789"
KEY = b"1" * 32


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "syslog://", "rsyslog://h", "dbus://", "gnome://", "macosx://", "windows://"),
        *("exec://id", "http://h/config.yml", "https://h/config.yml", "apprise://h/t", "apprises://h/t", "xml://h"),
        *("mqtt://h", "smpp://h", "pushover://x", "JSONX://h", "://h", "json:/h", "json://h,\x00", "json://hö"),
        f"json://h/{'a' * 3000}",
    ],
)
def test_a_scheme_that_is_not_allowed_is_refused_in_one_line_without_its_address(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {VARIABLE: f"json://127.0.0.1/ {url}{CANARY}"})
    with pytest.raises(BadDestination) as refused:
        destinations(KEY)
    assert str(refused.value).startswith("BIZCHARTS_ALERT_URLS: address 2 ")
    assert CANARY not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("parameter", sorted(REFUSED_PARAMETERS))
def test_a_parameter_that_weakens_or_repeats_a_delivery_or_touches_files_is_refused(
    parameter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for spelt in (parameter, parameter.upper(), f"+{parameter}", f"%2B{parameter}"):
        monkeypatch.setenv(VARIABLE, f"jsons://me:{CANARY}@h/?a=b&{spelt}=yes")
        with pytest.raises(BadDestination, match=f"address 1 has the parameter {parameter}") as refused:
            destinations(KEY)
        assert CANARY not in str(refused.value)


def test_a_name_tells_destinations_apart_and_nothing_of_their_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"jsons://me:{CANARY}@h/\n  TGRAM://{CANARY}/1/ jsons://me:{CANARY}@h/ ntfy://topic")
    found = destinations(KEY)
    assert [one.name.partition("-")[0] for one in found] == ["jsons", "tgram", "ntfy"]
    assert len({one.name for one in found}) == 3
    assert {one.name for one in found} != {one.name for one in destinations(b"2" * 32)}
    assert CANARY not in repr(found)
    monkeypatch.setenv(VARIABLE, " ")
    assert destinations(KEY) == []
