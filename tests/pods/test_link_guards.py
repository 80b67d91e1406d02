"""What keeps a paid result and ends a pod when answers, lines, clocks or disks misbehave."""

import getpass
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pods.pod_world import START, World, a_job, install
from quick_pods import eventually

from bizcharts_pipeline.core.api_keys import API_KEYS
from bizcharts_pipeline.core.blanking import Blanker
from bizcharts_pipeline.demo.pods.sshd import start_sshd
from bizcharts_pipeline.pods import kept, remote, steady_clock, transport
from bizcharts_pipeline.pods.errors import LocalDiskError, LoginRefused, PodError
from bizcharts_pipeline.pods.execute import execute
from bizcharts_pipeline.pods.keys import KNOWN_HOSTS, make_keys
from bizcharts_pipeline.pods.onpod import supervisor
from bizcharts_pipeline.pods.protocol import Address
from bizcharts_pipeline.pods.start_command import guard
from bizcharts_pipeline.pods.transport import LocalTransport, SshTransport

PAGE = b"<html>sign in</html>"
WRONG = [(302, PAGE), (200, PAGE), (500, b"{}"), (404, PAGE), (200, b'{"errors": [{"message": "no"}]}')]


@pytest.fixture
def plane() -> Iterator[ThreadingHTTPServer]:
    """An API whose first answers are wrong, each in another way: to DELETE and POST, and to GET. Then the pod is
    deleted, and the API says so."""
    wrong, asked, deleted = [(302, PAGE), *WRONG], [], threading.Event()
    wrong_gets = [(404, PAGE), (302, PAGE), (200, PAGE), (500, b"{}")]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(self.path)
            if wrong:
                return self.answer(*wrong.pop(0))
            deleted.set()
            self.answer(204, b"")

        do_DELETE = do_POST

        def do_GET(self) -> None:
            asked.append(self.path)
            if wrong_gets:
                self.answer(*wrong_gets.pop(0))
            elif deleted.is_set():
                gone.set()
                self.answer(404, b'{"error": "not found"}')
            else:
                self.answer(200, b'{"desiredStatus": "RUNNING"}')

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Location", "/signed-in")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    gone = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.gone, server.wrong = asked, gone, wrong  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def guarded(tmp_path: Path, port: int, **more: str) -> dict[str, str]:
    """The environment of a container whose guard ends it at once."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "BIZCHARTS_WORKSPACE": str(tmp_path / "w"),
        "RUNPOD_POD_ID": "pod7x",
        "RUNPOD_API_KEY": "rpa_x",
        "BIZCHARTS_CONTROL_URL": f"http://127.0.0.1:{port}",
        "BIZCHARTS_GUARD_ONLY": "1",
        "BIZCHARTS_GUARD_PAUSE": "0",
        **more,
    }


@pytest.mark.parametrize("client", ["curl", "python3"])
def test_the_guard_believes_nothing_but_the_api_that_the_pod_is_gone(plane, tmp_path: Path, client: str) -> None:  # type: ignore[no-untyped-def]
    programs = tmp_path / "bin"  # of an image that has only one of the two
    programs.mkdir()
    for name in ("bash", "base64", "mkdir", "mv", "cat", "cut", "date", "tr", "grep", "sleep", client):
        (programs / name).symlink_to(sys.executable if name == "python3" else str(shutil.which(name)))
    environment = guarded(tmp_path, plane.server_port, PATH=str(programs))
    subprocess.run(shlex.split(guard(0)), env=environment, check=True, timeout=30, stdin=subprocess.DEVNULL)
    assert plane.gone.wait(30)
    assert not plane.wrong
    assert "/signed-in" not in plane.asked


# The first process of a container with work to do, which begins before the guard, as that is quick here. It outlives
# its work, as a container that starts again.
FIRST = """
trap 'echo told > {said}/told' TERM
sleep 1000 &
setsid sleep 1000 &
{guard}
echo working > {said}/working
wait
echo ended > {said}/ended
while :; do sleep 0.1; done
"""


@pytest.mark.parametrize("own", [True, False], ids=["its container", "another machine"])
def test_a_guard_that_cannot_end_its_pod_ends_its_container_s_processes_and_keeps_trying(
    plane,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    own: bool,
) -> None:
    plane.wrong += WRONG * 1_000
    environment = guarded(tmp_path, plane.server_port, BIZCHARTS_GUARD_TRIES="2", BIZCHARTS_GUARD_PAUSE="0.1")
    command = guard(0)
    if not own:
        command = f"RUNPOD_POD_ID={environment.pop('RUNPOD_POD_ID')} {command}"
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no pid namespace can be made here: it takes unshare and root")
    script = FIRST.format(guard=command, said=shlex.quote(str(tmp_path)))
    container = subprocess.Popen([*unshare, "bash", "-c", script], env=environment, stdin=subprocess.DEVNULL)
    try:
        eventually(lambda: (tmp_path / "working").exists())
        if own:
            eventually(lambda: (tmp_path / "ended").exists() and (tmp_path / "told").exists())
        asked = len(plane.asked)
        eventually(lambda: len(plane.asked) >= asked + 12)  # more than two further tries
        assert (tmp_path / "ended").exists() == (tmp_path / "told").exists() == own
    finally:
        container.kill()
        container.wait()


@pytest.mark.parametrize(("status", "body"), WRONG)
def test_the_supervisor_takes_no_page_and_no_error_for_an_end(status: int, body: bytes) -> None:
    answer = (status, supervisor.json_object(body))
    assert not supervisor.accepted(answer)
    assert not supervisor.is_gone(answer)


def test_a_wrong_host_that_answers_first_is_not_pinned(tmp_path: Path) -> None:
    public = make_keys(tmp_path / "keys")
    wrong = start_sshd(tmp_path / "wrong", make_keys(tmp_path / "others"), {})
    right = start_sshd(tmp_path / "right", public, {})
    try:
        with pytest.raises(LoginRefused):
            SshTransport(Address("127.0.0.1", wrong.port, getpass.getuser()), tmp_path / "keys").run("true")
        assert not list((tmp_path / "keys").glob(f"{KNOWN_HOSTS}*"))
        way = SshTransport(Address("127.0.0.1", right.port, getpass.getuser()), tmp_path / "keys")
        assert way.run("echo in") == b"in\n"
        assert (tmp_path / "keys" / KNOWN_HOSTS).exists()
    finally:
        wrong.kill()
        right.kill()


def test_a_transfer_tells_of_its_progress_while_bytes_move(tmp_path: Path) -> None:
    public = make_keys(tmp_path / "keys")
    sshd = start_sshd(tmp_path / "host", public, {})
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "large.bin").write_bytes(os.urandom(3_000_000))
    heard: list[int] = []
    try:
        way = SshTransport(Address("127.0.0.1", sshd.port, getpass.getuser()), tmp_path / "keys")
        way.pull(str(tmp_path / "far"), tmp_path / "near", lambda: heard.append(1))
        pulled = len(heard)
        way.push(tmp_path / "near", str(tmp_path / "there"), lambda: heard.append(1))
    finally:
        sshd.kill()
    assert 0 < pulled < len(heard)


@pytest.mark.parametrize(
    "said",
    [
        "No space left on device (28)",
        "Disk quota exceeded (122)",
        "Read-only file system (30)",
        "Input/output error (5)",
    ],
)
def test_rsync_s_word_for_a_full_disk_here_is_told_from_one_on_the_pod(said: str) -> None:
    assert transport._LOCAL_DISK.search(f'rsync: [receiver] write failed on "/x/a": {said}')
    assert transport._LOCAL_DISK.search(f'rsync: write failed on "/x/a": {said}')  # before 3.2
    assert not transport._LOCAL_DISK.search(f'rsync: [sender] read errors mapping "/x/a": {said}')


def test_a_full_disk_here_keeps_the_pod_and_the_next_run_takes_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    world = World(tmp_path)

    def full(what: str) -> None:
        if what == "collect":
            raise LocalDiskError("no room")

    world.before = full
    with pytest.raises(LocalDiskError, match="start the same job again"):
        world.run()
    assert [machine.ended_at for machine in world.machines] == [None]
    world.before = lambda what: None
    finished = world.run()
    assert (finished.pods, finished.reattached) == (1, True)
    assert len(world.machines) == 1
    assert world.machines[0].ended_at is not None


def test_a_kept_pod_is_kept_for_a_lease_and_no_longer(tmp_path: Path) -> None:
    lease = steady_clock.timedelta(minutes=12)
    kept.keep(tmp_path, START + lease)
    assert kept.until(tmp_path, START, lease)
    assert not kept.until(tmp_path, START + lease, lease)
    assert not kept.until(tmp_path, START - lease, lease)


def test_a_secret_is_blanked_wherever_a_chunk_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_secret_value")
    monkeypatch.setenv("MINE", 'quo"ted-value')
    text = b'a rpa_secret_value b {"x": "quo\\"ted-value"} rpa_sec'
    for size in range(1, len(text)):
        blanker = Blanker(("MINE",))
        shown = b"".join(blanker.feed(text[at : at + size]) for at in range(0, len(text), size)) + blanker.rest()
        assert shown == b'a <RUNPOD_API_KEY> b {"x": "<MINE>"} rpa_sec'


def test_errors_of_ssh_rsync_and_a_pod_show_no_api_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "rpa_secret_value"
    monkeypatch.setenv("RUNPOD_API_KEY", key)
    sshd = start_sshd(tmp_path / "host", make_keys(tmp_path / "keys"), {})
    way = SshTransport(Address("127.0.0.1", sshd.port, getpass.getuser()), tmp_path / "keys")
    program(tmp_path / "bin" / "rsync", f"echo 'rsync: {key}' >&2; exit 12")

    def by_rsync() -> None:
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        way.pull(str(tmp_path / "host"), tmp_path / "near")

    calls: list[Callable[[], object]] = [
        lambda: way.run(f"echo {'x' * 490}{key} >&2; exit 3"),  # the end that is shown begins within the key
        lambda: way.run(f"echo {key} >&2; sleep 1; kill -9 $PPID; sleep 5"),
        lambda: LocalTransport(tmp_path).run(f"echo {key} >&2; exit 3"),
        lambda: remote.preflight(Says(key.encode()), needs_gpu=False, least_disk_gb=0),
        lambda: remote.poll(Says(key.encode()), "/root", 0, 0),
        lambda: remote.collect(Says(key.encode()), "/root", "output", tmp_path / "into"),
        by_rsync,
    ]
    try:
        for call in calls:
            with pytest.raises(PodError) as raised:
                call()
            assert "<RUNPOD_API_KEY>" in str(raised.value)
            assert key[-8:] not in str(raised.value)
    finally:
        sshd.kill()


class Says(LocalTransport):
    """A machine that answers the same to everything."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def run(self, command: str, *, stdin: bytes = b"", timeout_seconds: float = 60) -> bytes:
        return self._answer


def program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_real_ssh_rsync_and_ssh_keygen_are_started_without_api_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ssh", "rsync", "ssh-keygen"):
        program(tmp_path / "bin" / name, f'env > "{tmp_path}/{name}.seen"; exec {shutil.which(name)} "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for name in (*API_KEYS, "BIZCHARTS_NOW", "MY_OWN_TOKEN"):
        monkeypatch.setenv(name, "a_secret_value")
    public = make_keys(tmp_path / "keys")
    shown = (tmp_path / "ssh-keygen.seen").read_text()
    sshd = start_sshd(tmp_path / "host", public, {})
    seen = {name: tmp_path / f"{name}.seen" for name in ("ssh", "rsync")}
    try:
        way = SshTransport(Address("127.0.0.1", sshd.port, getpass.getuser()), tmp_path / "keys")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "a").write_bytes(b"1")
        way.run("true")
        shown += seen["ssh"].read_text()
        seen["ssh"].unlink()
        way.push(tmp_path / "mine", str(tmp_path / "far"))  # rsync starts an ssh of its own
        shown += seen["ssh"].read_text() + seen["rsync"].read_text()
    finally:
        sshd.kill()
    assert shown.count("PATH=") >= 4
    assert "a_secret_value" not in shown


def test_children_do_not_inherit_api_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_secret_value")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    seen = execute(["env"], timeout_seconds=10, most_bytes=100_000).stdout
    assert b"PATH=" in seen
    assert b"rpa_secret_value" not in seen
    assert b"SSH_AUTH_SOCK" not in seen


def test_a_wall_clock_that_jumps_and_a_pretended_time_move_no_duration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = steady_clock.open_clock(tmp_path)()
    wall = time.time
    for jump in (3600, -3600):
        monkeypatch.setattr(steady_clock.time, "time", lambda jump=jump: wall() + jump)
        monkeypatch.setenv("BIZCHARTS_NOW", "2020-01-01T00:00:00")
        passed = steady_clock.open_clock(tmp_path)() - before
        assert 0 <= passed.total_seconds() < 60
    assert a_job().key
