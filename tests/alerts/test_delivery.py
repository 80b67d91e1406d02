"""Delivery through Apprise to a real web service: what is sent again, what is not, and what is told of it."""

import json
import os
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from receiver import Receiver, receiver

from bizcharts_pipeline.alerts.delivery import deliver, pause, send_test
from bizcharts_pipeline.alerts.destinations import VARIABLE, Destination, destinations
from bizcharts_pipeline.alerts.errors import AlertLedgerError
from bizcharts_pipeline.alerts.events import Event
from bizcharts_pipeline.alerts.ledger import AlertLedger
from bizcharts_pipeline.core.ledgers import exclusive

NOW = datetime(2026, 11, 28, 12)
CANARY = "canary0123456789"


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@pytest.fixture
def ledger(home: Path) -> AlertLedger:
    return AlertLedger(home / "ledgers" / "alerts.sqlite")


def event(number: int = 1) -> Event:
    return Event("class", "index", str(number), f"event {number}", ("line",), NOW + timedelta(minutes=number))


def set_to(monkeypatch: pytest.MonkeyPatch, ledger: AlertLedger, *urls: str) -> list[Destination]:
    monkeypatch.setenv(VARIABLE, "\n".join(urls))
    return destinations(ledger.hash_key())


def record(ledger: AlertLedger, targets: list[Destination], *events: Event) -> None:
    note = ledger.past().note
    assert ledger.record(events, [one.name for one in targets], note, f"{note}.", NOW)


@pytest.mark.fault("dropped network", stage="alerts", expected="the other destinations get it; the error is seen")
@pytest.mark.fault("slow network", stage="alerts", expected="a destination that hangs holds no other up")
def test_a_dead_destination_holds_no_other_up_and_its_error_is_seen(
    server: Receiver, ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = set_to(monkeypatch, ledger, "json://127.0.0.1:1/", server.url(), server.url("404"))
    record(ledger, targets, event(1), event(2))
    outcomes = deliver(ledger, targets, 3, lambda: NOW)
    assert outcomes is not None
    assert sorted(outcome.state for outcome in outcomes) == ["pending", "pending", "sent", "sent"]
    assert [path for path, _, _ in server.messages if path == "/200"] == ["/200"] * 2
    dead, alive, refusing = (one.name for one in targets)
    errors = {(one.destination, one.title): (one.state, one.attempts, one.error) for one in ledger.deliveries()}
    assert errors[dead, "event 1"] == ("pending", 1, "it was not reached")
    assert errors[alive, "event 1"] == ("sent", 1, "")
    assert errors[refusing, "event 1"] == ("pending", 1, "it answered 404")
    assert errors[refusing, "event 2"] == ("pending", 0, "")  # it waits, and is not lost


def test_a_refused_message_is_sent_again_after_growing_pauses_and_then_given_up(
    server: Receiver, ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = set_to(monkeypatch, ledger, server.url("503"))
    record(ledger, targets, event())
    now = NOW
    for attempt in range(1, 4):
        assert ledger.is_due(now)
        deliver(ledger, targets, 3, lambda now=now: now)
        assert len(server.messages) == attempt
        assert deliver(ledger, targets, 3, lambda now=now: now) == []  # not due yet
        now += pause(attempt)
    (given_up,) = ledger.deliveries()
    assert (given_up.state, given_up.error) == ("failed", "given up after 3 attempts: it answered 503")
    assert not ledger.is_due(now + timedelta(days=9))
    assert [pause(attempt).seconds // 60 for attempt in (1, 2, 3, 6, 7, 40)] == [1, 2, 4, 32, 60, 60]


@pytest.mark.parametrize("path", ["drop", "502", "504"])
def test_a_message_that_may_have_arrived_is_never_sent_again(
    path: str, server: Receiver, ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = set_to(monkeypatch, ledger, server.url(path))
    record(ledger, targets, event())
    for minutes in (0, 1, 60, 6_000):
        deliver(ledger, targets, 3, lambda minutes=minutes: NOW + timedelta(minutes=minutes))
    assert len(server.messages) == 1
    (unknown,) = ledger.deliveries()
    assert unknown.state == "unknown"
    assert unknown.error.endswith("it may have arrived, and is not sent again")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("form://127.0.0.1:{port}/x", "/x"),
        ("ntfy://127.0.0.1:{port}/topic", "/"),
        ("gotify://127.0.0.1:{port}/token", "/message"),
        ("signal://127.0.0.1:{port}/+12025550100/+12025550101", "/v2/send"),
    ],
)
def test_services_of_ones_own_get_title_and_message_in_one_request(
    url: str, path: str, server: Receiver, ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    (outcome,) = send_test(set_to(monkeypatch, ledger, url.format(port=server.server_address[1])), NOW)
    assert outcome.state == "sent"
    ((to, title, message),) = server.messages
    assert to == path
    assert "BizCharts: test" in title + message
    assert "Sent at 2026-11-28 12:00 UTC. Alerts reach this destination." in message


def test_no_redirect_is_followed(server: Receiver, ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    (outcome,) = send_test(set_to(monkeypatch, ledger, server.url("302")), NOW)
    assert (outcome.state, outcome.error) == ("failed", "it answered 302")
    assert [path for path, _, _ in server.messages] == ["/302"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("json://127.0.0.2:1/", "its address is not encrypted: use the scheme that ends in s"),
        ("ntfy://127.0.0.2:1/topic", "its address is not encrypted: use the scheme that ends in s"),
        ("mailto://me:pw@mail.example.org", "mail would be sent unencrypted; use mailtos://"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#a/#b", "it names several recipients"),
        ("tgram://no-token", "Apprise does not accept its address"),
    ],
)
def test_an_address_that_apprise_would_use_unsafely_is_refused_in_one_line(
    url: str, says: str, ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    (outcome,) = send_test(set_to(monkeypatch, ledger, url), NOW)
    assert outcome.state == "failed"
    assert outcome.error.startswith(says)


@pytest.mark.parametrize("home", ["files"], indirect=True)
def test_no_part_of_an_address_is_in_ledger_outcome_output_or_argument_list(
    server: Receiver, ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    urls = [server.url(f"{CANARY}/{status}") for status in (200, 404, 502)]
    urls += [f"json://me:{CANARY}@127.0.0.1:1/", f"tgram://{CANARY}/1/", f"jsons://{CANARY}.invalid/"]
    urls += [f"mailtos://me:{CANARY}@localhost:1/a@b.cc?from=c@d.ee"]
    targets = set_to(monkeypatch, ledger, *urls)
    record(ledger, targets, event())
    seen: list[bytes] = []
    server.before_answer = lambda count: seen.append(_command_lines())
    outcomes = deliver(ledger, targets, 1, lambda: NOW)
    assert outcomes is not None
    assert len(outcomes) == len(urls)
    assert CANARY in server.messages[0][0]
    assert CANARY not in repr(outcomes) + "".join(capfd.readouterr()) + repr(ledger.deliveries())
    for file in ledger.path.parent.iterdir():
        assert CANARY.encode() not in file.read_bytes()
    assert seen
    assert all(b"alerts.sender" in each and CANARY.encode() not in each for each in seen)


def _command_lines() -> bytes:
    lines = b""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines += (folder / "cmdline").read_bytes()
        except OSError:
            continue
    return lines


def test_the_sender_has_no_key_no_proxy_and_no_home(
    server: Receiver, ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    seen: list[bytes] = []
    server.before_answer = lambda count: seen.append(_environments())
    (outcome,) = send_test(set_to(monkeypatch, ledger, server.url()), NOW)
    assert outcome.state == "sent"
    assert b"HOME=/nonexistent" in seen[0]
    assert CANARY.encode() not in seen[0]
    assert b"HTTP_PROXY" not in seen[0]


def _environments() -> bytes:
    """Of the children of this process that send."""
    found = b""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == os.getpid() and b"alerts.sender" in (folder / "cmdline").read_bytes():
                found += (folder / "environ").read_bytes()
        except OSError:
            continue
    return found


def test_one_sender_at_a_time(ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = set_to(monkeypatch, ledger, "json://127.0.0.1:1/")
    record(ledger, targets, event())
    with exclusive(ledger.path.with_suffix(".sending")) as alone:
        assert alone
        assert deliver(ledger, targets, 3, lambda: NOW) is None
    (waiting,) = ledger.deliveries()
    assert waiting.attempts == 0


def test_what_a_killed_sender_left_is_unknown_and_what_has_no_destination_is_failed(
    server: Receiver, ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = set_to(monkeypatch, ledger, server.url(), server.url("200/other"))
    record(ledger, targets, event())
    (due,) = ledger.due(targets[0].name, NOW)
    ledger.reserve(due.id, NOW)
    with pytest.raises(AlertLedgerError, match="not pending"):
        ledger.reserve(due.id, NOW)
    assert deliver(ledger, targets[:1], 3, lambda: NOW) == []
    assert {one.state: one.error for one in ledger.deliveries()} == {
        "unknown": "the sender was killed while sending: it may have arrived, and is not sent again",
        "failed": "its destination is no longer set",
    }
    assert server.messages == []


def test_a_second_search_that_found_the_same_records_nothing(ledger: AlertLedger) -> None:
    assert ledger.record([event()], ["a"], "", "1", NOW) == [event()]
    assert ledger.record([event(2)], ["a"], "", "2", NOW) == []  # it began before the first one ended
    assert ledger.record([event()], ["a"], "1", "2", NOW) == []
    assert [(one.title, one.state) for one in ledger.deliveries()] == [("event 1", "pending")]


class _Mail(socketserver.StreamRequestHandler):
    """A mail server that takes a message, and answers ``reply`` to it."""

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline():
            command = line.strip().upper()
            if command == b"DATA":
                self._say("354 go on")
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line)
                self.server.mails.append(b"".join(lines))  # type: ignore[attr-defined]
                if not (reply := self.server.reply):  # type: ignore[attr-defined]
                    return
                self._say(reply)
            else:
                self._say("250 ok")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def mail_server(reply: str) -> Iterator[socketserver.ThreadingTCPServer]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mail)
    server.daemon_threads = True
    server.mails, server.reply = [], reply  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("reply", "state", "says"),
    [
        ("250 taken", "sent", ""),
        ("554 spam", "failed", "the mail server answered 554"),
        ("", "unknown", "the mail server did not answer: it may have arrived, and is not sent again"),
    ],
)
def test_mail_is_sent_once_and_its_outcome_is_what_the_server_said_to_the_message(
    reply: str, state: str, says: str, ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server(reply) as server:
        port = server.server_address[1]
        (outcome,) = send_test(set_to(monkeypatch, ledger, f"mailto://localhost:{port}/to@b.cc?from=a@b.cc"), NOW)
    (mail,) = server.mails  # type: ignore[attr-defined]
    assert b"Subject: BizCharts: test" in mail
    assert (outcome.state, outcome.error) == (state, says)


def test_a_sender_without_apprise_says_how_to_install_it(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = "import sys; sys.modules['apprise'] = None; from bizcharts_pipeline.alerts.sender import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps({"url": "json://127.0.0.1/"}), capture_output=True, text=True
    )
    assert json.loads(done.stdout) == {"ready": False, "detail": "Apprise is not installed: `make install-alerts`"}
