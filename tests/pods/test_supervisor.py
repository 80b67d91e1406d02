"""The supervisor on the pod: real processes, started and asked as a pod's are."""

import ast
import getpass
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pods.line import Line

from bizcharts_pipeline.demo.pods.sshd import start_sshd
from bizcharts_pipeline.pods import remote
from bizcharts_pipeline.pods.errors import BadHost, JobFailed, LinkError, PodLost, TransferError, WrongSetting
from bizcharts_pipeline.pods.keys import make_keys
from bizcharts_pipeline.pods.onpod import supervisor
from bizcharts_pipeline.pods.protocol import Address, Job, Transport
from bizcharts_pipeline.pods.remote import Exit, Poll
from bizcharts_pipeline.pods.start_command import guard
from bizcharts_pipeline.pods.transport import LocalTransport, SshTransport

POD = "pod7x"
KEY = "rpa_THE_PODS_OWN_KEY"
PATIENCE = 60


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor as it is, with shorter graces."""
    source = remote._SUPERVISOR.read_text()
    for slow, quick in (
        ("GRACE_SECONDS = 10.0", "GRACE_SECONDS = 0.5"),
        ("LOG_BYTES = 200_000_000", "LOG_BYTES = 5_000_000"),
    ):
        assert slow in source
        source = source.replace(slow, quick)
    (tmp_path / "supervisor.py").write_text(source)
    monkeypatch.setattr(remote, "_SUPERVISOR", tmp_path / "supervisor.py")


@dataclass
class Pod:
    """A pod on this machine with one job, and all that was heard of it."""

    workspace: Path
    transport: Transport
    messages: bytes = b""
    log: bytes = b""
    jobs: list[Job] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.workspace / "bizcharts" / f"bizcharts-abc-{POD}"

    def stage(self, script: str, **changes: object) -> None:
        code = self.workspace.parent / "code"
        code.mkdir(exist_ok=True)
        (code / "train.py").write_text(script)
        job = {"setup": None, "environment": {"WHERE": "{root}/here"}, **changes}
        self.jobs.append(Job("abc", {"code": code}, command=("{python}", "code/train.py"), **job))  # type: ignore[arg-type]
        remote.stage(self.transport, str(self.root), self.jobs[-1], None)

    def launch(self, *, seconds: float = 600, lease: float = 60) -> None:
        remote.launch(
            self.transport,
            str(self.root),
            self.jobs[-1],
            python=sys.executable,
            max_runtime_seconds=seconds,
            lease_seconds=lease,
        )

    def start(self, script: str, *, seconds: float = 600, lease: float = 60, **changes: object) -> None:
        self.stage(script, **changes)
        self.launch(seconds=seconds, lease=lease)

    def poll(self) -> Poll:
        heard = remote.poll(self.transport, str(self.root), len(self.messages), len(self.log))
        self.messages += heard.messages
        self.log += heard.log
        return heard

    def until(self, condition: Callable[[Poll], bool]) -> Poll:
        deadline = time.monotonic() + PATIENCE
        while not condition(heard := self.poll()):
            assert time.monotonic() < deadline, (heard, self.log[-2000:])
            time.sleep(0.1)
        return heard

    def end(self) -> Exit:
        ended = self.until(lambda heard: heard.exit is not None).exit
        assert ended is not None
        return ended

    def pids(self) -> list[int]:
        """The processes of the job that are alive."""
        mark = f"BIZCHARTS_JOB_FOLDER={self.root}".encode()
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environment.read_bytes().split(b"\0"):
                    found.append(int(environment.parent.name))
            except OSError:
                continue
        return found

    def supervisors(self) -> list[int]:
        """The supervisors of the job that are alive; one that cannot delete its pod tries for ever."""
        found = []
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = command.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"supervisor.py" in words and str(self.root).encode() in words:
                found.append(int(command.parent.name))
        return found

    def supervisor(self) -> int:
        return int(json.loads((self.root / "state.json").read_text())["supervisor"])


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    workspace = tmp_path / "workspace"
    found = Pod(workspace, LocalTransport(workspace))
    yield found
    if found.root.exists():
        (found.root / "collected").touch()
        (found.root / "cancel").touch()
        for pid in [*found.pids(), *found.supervisors()]:
            os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass
class Control:
    """A control plane that writes down what it is asked."""

    port: int
    asked: list[tuple[str, str, str | None, str]]
    refused: set[str]  # methods that it answers with 403
    held: threading.Event  # set: it answers

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def control() -> Iterator[Control]:
    class Handler(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            plane.asked.append((self.command, self.path, self.headers.get("Authorization"), body))
            plane.held.wait(PATIENCE)
            answer = b'{"data": {"podTerminate": null}}'
            self.send_response(403 if self.command in plane.refused else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_DELETE

        def do_GET(self) -> None:
            ended = any(method not in plane.refused for method, *_ in plane.asked)
            answer = b'{"error": "not found"}' if ended else b'{"desiredStatus": "RUNNING"}'
            self.send_response(404 if ended else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    plane = Control(server.server_port, [], set(), threading.Event())
    plane.held.set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield plane
    server.shutdown()
    server.server_close()


def rented(workspace: Path, control: Control, pod_id: str = POD) -> None:
    """Note down on the workspace which pod it is, as its start command does."""
    workspace.mkdir(parents=True, exist_ok=True)
    identity = {"pod_id": pod_id, "api_key": KEY, "control_url": control.url}
    (workspace / ".bizcharts-pod.json").write_text(json.dumps(identity))


WELL = """
import os, pathlib
print("the job is", os.getcwd(), os.environ["WHERE"], flush=True)
pathlib.Path("output/adapter").mkdir(parents=True)
pathlib.Path("output/adapter/weights.bin").write_bytes(bytes(300_000))
pathlib.Path("output/report.json").write_text("{}")
pathlib.Path("messages.jsonl").write_text('{"one": 1}\\n')
"""


def test_a_job_that_ends_well_is_collected_whole_and_its_supervisor_goes(pod: Pod, tmp_path: Path) -> None:
    pod.start(WELL)
    assert (ended := pod.end()).code == 0
    assert ended.reason == "exited"
    assert pod.log.decode() == f"the job is {pod.root} {pod.root}/here\n"
    assert pod.messages == b'{"one": 1}\n'
    into = tmp_path / "results" / "abc"
    for _ in range(2):
        remote.collect(pod.transport, str(pod.root), "output", into)
        assert (into / "adapter/weights.bin").read_bytes() == bytes(300_000)
        assert sorted(path.name for path in into.rglob("*")) == ["adapter", "report.json", "weights.bin"]
    remote.confirm(pod.transport, str(pod.root))
    pod.until(lambda heard: not heard.alive)


UNMOVED = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("raise SystemExit(7)", 7, "exited"),
        ("import os; print('last words', flush=True); os.kill(os.getpid(), 9)", -9, "killed"),
        (UNMOVED, -9, "killed"),
    ],
    ids=["fails", "is killed", "supervisor is terminated"],
)
def test_a_job_that_ends_badly_says_how_and_has_no_result(pod: Pod, script: str, code: int, reason: str) -> None:
    pod.start(script)
    ended = pod.end()
    assert (ended.code, ended.reason) == (code, reason)
    assert not (pod.root / "manifest.json").exists()
    assert not pod.pids()


def test_a_job_that_made_nothing_is_no_success(pod: Pod, tmp_path: Path) -> None:
    pod.start("print('lazy')")
    assert pod.end().code == 0
    with pytest.raises(JobFailed, match="is empty") as failed:
        remote.collect(pod.transport, str(pod.root), "output", tmp_path / "into")
    assert failed.value.reason == "no result"


def test_an_environment_is_made_first_and_its_python_used(pod: Pod) -> None:
    setup = 'ln -s "$BIZCHARTS_PYTHON" its-own && echo "$PWD/its-own" > environment-python && echo made'
    pod.start("import sys; print(sys.executable)", setup=setup)
    assert pod.end().code == 0
    assert pod.log.decode().splitlines() == ["made", f"{pod.root}/its-own"]


def test_an_environment_that_cannot_be_made_is_the_end(pod: Pod) -> None:
    pod.start(WELL, setup="echo no such package >&2; exit 4")
    ended = pod.end()
    assert (ended.code, ended.reason) == (4, "setup")
    assert pod.log == b"no such package\n"


def test_a_python_that_is_not_there_is_a_wrong_setting_and_not_a_bad_host(pod: Pod) -> None:
    pod.stage(WELL)
    with pytest.raises(WrongSetting, match=r"'/no/python', the `python` of \[pods\]"):
        remote.launch(
            pod.transport, str(pod.root), pod.jobs[0], python="/no/python", max_runtime_seconds=9, lease_seconds=9
        )


def test_secrets_reach_the_job_and_stay_nowhere(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    script = "import os; print(os.environ['HF_TOKEN'][::-1], 'NOT_SET' in os.environ, os.environ.get('RUNPOD_API_KEY'))"
    pod.start(script, secrets=("HF_TOKEN", "NOT_SET"))
    assert pod.end().code == 0
    assert pod.log == b"terces_fh False None\n"
    assert all(b"hf_secret" not in path.read_bytes() for path in pod.root.rglob("*") if path.is_file())


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("working", flush=True)
time.sleep(600)
"""


def test_a_job_whose_time_is_up_is_killed_with_all_it_started(pod: Pod) -> None:
    pod.start(STUBBORN, seconds=1)
    ended = pod.end()
    assert (ended.code, ended.reason) == (-9, "max_runtime")
    assert not pod.pids()


def test_a_cancelled_job_ends_and_so_does_one_that_was_cancelled_before_it_began(pod: Pod) -> None:
    pod.start(STUBBORN)
    pod.until(lambda heard: b"working" in pod.log)
    assert len(pod.pids()) == 2
    remote.cancel(pod.transport, str(pod.root))
    assert pod.end().reason == "cancelled"
    assert not pod.pids()
    pod.launch()
    assert not pod.pids()


def test_a_pod_that_nobody_asks_after_ends_its_job_and_itself(pod: Pod, control: Control) -> None:
    rented(pod.workspace, control)
    pod.start(STUBBORN, lease=1)
    wait_for(lambda: control.asked)
    assert control.asked == [("DELETE", f"/v2/pods/{POD}", f"Bearer {KEY}", "")]
    assert json.loads((pod.root / "exit.json").read_text())["reason"] == "lease"
    assert not pod.pids()
    pod.until(lambda heard: not heard.alive)
    assert KEY.encode() not in b"".join(path.read_bytes() for path in pod.root.iterdir() if path.is_file())


@pytest.mark.slow
def test_polls_keep_a_job_alive_and_the_pod_goes_when_its_result_is_safe(pod: Pod, control: Control) -> None:
    rented(pod.workspace, control)
    control.refused.add("DELETE")
    pod.start("import time; time.sleep(3); print('done')", lease=2)
    assert pod.end().reason == "exited"
    assert not control.asked
    remote.confirm(pod.transport, str(pod.root))
    wait_for(lambda: len(control.asked) > 1)
    (_, (method, path, key, body)) = control.asked
    assert (method, path, key) == ("POST", "/graphql", f"Bearer {KEY}")
    assert json.loads(body)["query"] == f'mutation {{ podTerminate(input: {{podId: "{POD}"}}) }}'
    pod.until(lambda heard: not heard.alive)


@pytest.mark.parametrize(("lease", "moment"), [(60, 5), (720, 60), (7_200, 60)])
def test_a_supervisor_leaves_the_run_a_moment_to_end_the_pod_whose_result_is_safe(
    pod: Pod, control: Control, monkeypatch: pytest.MonkeyPatch, lease: float, moment: float
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(supervisor.time, "sleep", slept.append)
    pod.root.mkdir(parents=True)
    (pod.root / "collected").touch()
    watch = supervisor.Watch(pod.root, {"lease_seconds": lease, "max_runtime_seconds": 9}, supervisor.time_of_boot())
    supervisor.wait_for_collection(pod.root, watch)
    assert sum(slept) == 0  # a machine that is not rented has nothing to wait for
    rented(pod.workspace, control)
    supervisor.wait_for_collection(pod.root, watch)
    assert sum(slept) == moment
    assert not control.asked


def test_a_supervisor_asks_for_its_pod_s_end_for_as_long_as_the_pod_lives(
    pod: Pod, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    rented(pod.workspace, control)
    control.refused |= {"DELETE", "POST"}
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) > 24 * 3_600:
            control.refused.clear()

    monkeypatch.setattr(supervisor.time, "sleep", sleep)
    supervisor.delete_this_pod(pod.root)
    assert sum(slept) < 25 * 3_600
    assert control.asked[-1][:2] == ("DELETE", f"/v2/pods/{POD}")


def test_another_pod_s_name_on_a_shared_volume_is_not_taken_for_its_own(pod: Pod, control: Control) -> None:
    rented(pod.workspace, control, pod_id="another")
    pod.start("print('done')", lease=1)
    wait_for(lambda: (pod.root / "exit.json").exists())
    time.sleep(2)
    assert not pod.poll().alive
    assert not control.asked


COUNTING = """
import pathlib, time
with pathlib.Path("starts").open("a") as file:
    file.write("started\\n")
print("working", flush=True)
while not pathlib.Path("end").exists():
    time.sleep(0.05)
"""


def starts(pod: Pod) -> int:
    return len((pod.root / "starts").read_text().splitlines()) if (pod.root / "starts").exists() else 0


def test_a_job_that_was_launched_is_not_launched_again(pod: Pod) -> None:
    pod.start(COUNTING)
    pod.until(lambda heard: b"working" in pod.log)
    pod.launch()
    assert starts(pod) == len(pod.pids()) == 1
    assert not (pod.root / "secrets.json").exists()
    (pod.root / "end").touch()
    assert pod.end().code == 0
    remote.confirm(pod.transport, str(pod.root))
    pod.until(lambda heard: not heard.alive)
    pod.launch()
    assert pod.end().code == 0
    assert starts(pod) == 1


def test_a_job_dies_with_its_supervisor_and_the_next_launch_leaves_one(pod: Pod) -> None:
    escaping = "import subprocess, sys; subprocess.Popen(['sleep', '600'], start_new_session=True)\n" + COUNTING
    pod.start(escaping)
    pod.until(lambda heard: b"working" in pod.log)
    before = pod.pids()
    assert len(before) == 2
    os.kill(pod.supervisor(), signal.SIGKILL)
    heard = pod.until(lambda heard: not heard.alive)
    assert heard.exit is None
    wait_for(lambda: len(pod.pids()) == 1)  # what is left had a session of its own
    pod.launch()
    wait_for(lambda: starts(pod) == 2)
    assert len(pod.pids()) == 2
    assert not set(before) & set(pod.pids())
    (pod.root / "end").touch()
    assert pod.end().code == 0
    assert pod.log == b"working\nworking\n"


def test_a_job_whose_supervisor_was_killed_can_be_cancelled(pod: Pod) -> None:
    pod.start(COUNTING)
    pod.until(lambda heard: b"working" in pod.log)
    os.kill(pod.supervisor(), signal.SIGKILL)
    pod.until(lambda heard: not heard.alive)
    remote.cancel(pod.transport, str(pod.root))
    assert pod.end().reason == "cancelled"


def test_the_end_is_told_when_everything_else_was_and_a_log_has_an_end(pod: Pod) -> None:
    script = """
import pathlib, sys
for _ in range(300):
    sys.stdout.buffer.write(b"x" * 20_000)
pathlib.Path("messages.jsonl").write_bytes(b"m" * 2_500_000)
"""
    pod.start(script)
    wait_for(lambda: (pod.root / "exit.json").exists())
    assert pod.poll().exit is None
    assert pod.end().code == 0
    assert pod.messages == b"m" * 2_500_000
    assert pod.log.startswith(b"x" * 5_000_000)
    assert len(pod.log) < 5_200_000
    assert b"the log is full" in pod.log


def test_a_pod_that_was_reset_is_lost(pod: Pod) -> None:
    with pytest.raises(PodLost):
        pod.poll()
    with pytest.raises(PodLost):
        remote.cancel(pod.transport, str(pod.root))


def test_the_newest_whole_checkpoint_is_saved_and_stays_until_a_newer_one_is_whole(pod: Pod, tmp_path: Path) -> None:
    pod.start("raise SystemExit(3)")
    pod.end()
    into = tmp_path / "saved"
    assert not remote.fetch_checkpoint(pod.transport, str(pod.root), into)

    def save(step: int, whole: bool) -> None:
        folder = pod.root / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "weights.bin").write_bytes(str(step).encode())
        if whole:
            (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))

    save(5, whole=True)
    assert remote.fetch_checkpoint(pod.transport, str(pod.root), into)
    save(10, whole=False)
    assert remote.fetch_checkpoint(pod.transport, str(pod.root), into)
    assert (into / "weights.bin").read_bytes() == b"5"
    (pod.root / "checkpoints/checkpoint-10/trainer_state.json").write_text("{}")
    remote.salvage(pod.transport, str(pod.root), tmp_path / "rest")
    assert (tmp_path / "rest" / remote.SALVAGED / "weights.bin").read_bytes() == b"10"
    assert json.loads((tmp_path / "rest" / "exit.json").read_text())["code"] == 3
    remote.salvage(pod.transport, str(tmp_path / "nowhere"), tmp_path / "nothing")
    again = tmp_path / "another pod"
    other = Pod(again, LocalTransport(again))
    other.stage("")
    remote.stage(other.transport, str(other.root), other.jobs[0], into)
    assert (other.root / "resume" / "weights.bin").read_bytes() == b"5"


def test_a_result_that_is_not_what_the_pod_listed_is_not_taken(pod: Pod, tmp_path: Path) -> None:
    pod.start(WELL)
    pod.end()
    (pod.root / "output/adapter/weights.bin").write_bytes(bytes(299_999) + b"1")
    with pytest.raises(TransferError, match="damaged"):
        remote.collect(pod.transport, str(pod.root), "output", tmp_path / "into")
    assert not (tmp_path / "into").exists()
    (pod.root / "output/adapter/weights.bin").write_bytes(bytes(300_000))
    remote.collect(pod.transport, str(pod.root), "output", tmp_path / "into")
    assert (tmp_path / "into/report.json").exists()


def test_a_host_is_looked_at_before_anything_is_sent(pod: Pod) -> None:
    facts = remote.preflight(pod.transport, needs_gpu=False, least_disk_gb=0)
    assert facts.workspace == str(pod.workspace)
    assert facts.disk_free_gb > 0
    assert facts.has_rsync
    with pytest.raises(BadHost, match="GB free"):
        remote.preflight(pod.transport, needs_gpu=False, least_disk_gb=10**6)
    if facts.gpu is None:
        with pytest.raises(BadHost, match="no GPU"):
            remote.preflight(pod.transport, needs_gpu=True, least_disk_gb=0)


@pytest.mark.parametrize(
    ("driver", "cuda", "good"),
    [
        ("580.95.05", ("13.0",), True),
        ("575.57.08", ("13.0",), False),
        ("535.183.01", ("13.0", "12.2"), True),
        ("525.147.05", ("13.0", "12.2"), False),
        ("550.54", ("12.7",), False),
        ("590.44.01", ("99.0",), True),
        ("470.256.02", (), True),
        ("[N/A]", ("13.0",), True),
    ],
)
def test_a_host_whose_driver_is_older_than_its_cuda_needs_is_a_bad_one(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: str, cuda: tuple[str, ...], good: bool
) -> None:
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(f'#!/bin/sh\necho "NVIDIA GeForce RTX 4090, {driver}"\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}:{os.environ['PATH']}")
    transport = LocalTransport(pod.workspace)
    if good:
        facts = remote.preflight(transport, needs_gpu=True, least_disk_gb=0, cuda=cuda)
        assert (facts.gpu, facts.driver) == ("NVIDIA GeForce RTX 4090", driver)
        return
    with pytest.raises(BadHost, match=rf"driver is {driver}.*`cuda`.* or newer"):
        remote.preflight(transport, needs_gpu=True, least_disk_gb=0, cuda=cuda)
    remote.preflight(transport, needs_gpu=False, least_disk_gb=0, cuda=cuda)


def test_a_pod_whose_end_cannot_be_written_down_ends_all_the_same(pod: Pod, control: Control) -> None:
    rented(pod.workspace, control)
    pod.start("import os; os.mkdir('exit.json.part')")  # as a full disk would
    wait_for(lambda: control.asked)
    assert control.asked[0][:2] == ("DELETE", f"/v2/pods/{POD}")
    assert not pod.pids()


@pytest.mark.slow
def test_messages_and_log_come_whole_and_once_over_a_line_that_breaks(pod: Pod, tmp_path: Path) -> None:
    script = """
import random, time
with open("messages.jsonl", "a") as file:
    for number in range(1500):
        file.write(f"message {number}\\n"); file.flush()
        print("log", number, random.Random(number).randbytes(100).hex(), flush=True)
        time.sleep(0.002)
"""  # the log cannot be compressed below 150 KB: three breaks come however few polls there are
    public = make_keys(tmp_path / "keys")
    sshd = start_sshd(tmp_path / "host", public, {})
    losses = 0
    with Line(sshd.port) as line:
        pod.transport = SshTransport(Address("127.0.0.1", line.port, getpass.getuser()), tmp_path / "keys")
        pod.start(script)
        line.reset_after(30_000)
        deadline = time.monotonic() + PATIENCE
        ended = None
        while ended is None:
            assert time.monotonic() < deadline
            try:
                ended = pod.poll().exit
            except LinkError:
                losses += 1
                if losses == 1:
                    line.reset_after(30_000)
                elif losses == 2:
                    sshd.kill()  # with all its sessions; the job is none of them
                    sshd = start_sshd(sshd.folder, public, {}, sshd.port)
                    line.reset_after(30_000)
    sshd.kill()
    assert losses >= 3
    assert ended.code == 0
    assert pod.messages == "".join(f"message {number}\n" for number in range(1500)).encode()
    lines = [f"log {number} {random.Random(number).randbytes(100).hex()}\n" for number in range(1500)]
    assert pod.log == "".join(lines).encode()


def armed(tmp_path: Path, control: Control, **more: str) -> Mapping[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "RUNPOD_POD_ID": POD,
        "RUNPOD_API_KEY": KEY,
        "BIZCHARTS_CONTROL_URL": control.url,
        "BIZCHARTS_GUARD_ONLY": "1",
        **more,
    }


def start_container(environment: Mapping[str, str], ttl: int) -> None:
    command = guard(ttl)
    assert '"' not in command
    assert "\n" not in command
    subprocess.run(shlex.split(command), env=environment, check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("refused", [set(), {"DELETE"}], ids=["rest", "graphql"])
def test_a_pod_to_which_nobody_ever_came_deletes_itself(tmp_path: Path, control: Control, refused: set[str]) -> None:
    control.refused |= refused
    control.held.clear()
    workspace = tmp_path / "workspace"
    start_container(armed(tmp_path, control, BIZCHARTS_WORKSPACE=str(workspace)), 1)
    identity = workspace / ".bizcharts-pod.json"
    assert identity.stat().st_mode & 0o777 == 0o600
    assert json.loads(identity.read_text()) == {"pod_id": POD, "api_key": KEY, "control_url": control.url}
    wait_for(lambda: control.asked)
    shown = subprocess.run(["ps", "-A", "-ww", "-o", "args"], capture_output=True, check=True).stdout
    assert f"/v2/pods/{POD}".encode() in shown  # the request is under way
    assert KEY.encode() not in shown
    control.held.set()
    wait_for(lambda: len(control.asked) == 1 + len(refused))
    assert control.asked[0] == ("DELETE", f"/v2/pods/{POD}", f"Bearer {KEY}", "")
    if refused:
        method, path, key, body = control.asked[1]
        assert (method, path, key) == ("POST", "/graphql", f"Bearer {KEY}")
        assert json.loads(body)["query"] == f'mutation {{ podTerminate(input: {{podId: "{POD}"}}) }}'


def test_a_container_that_restarts_gets_no_more_time(tmp_path: Path, control: Control) -> None:
    environment = armed(tmp_path, control, BIZCHARTS_WORKSPACE="/proc/no such")  # cannot be made: the home serves
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / f".bizcharts-deadline-{POD}").write_text("1000000000\n")
    start_container(environment, 9999)
    wait_for(lambda: control.asked)
    assert (tmp_path / "workspace" / ".bizcharts-pod.json").exists()


def test_the_supervisor_is_one_file_for_python_3_10_and_needs_nothing_else() -> None:
    tree = ast.parse(remote._SUPERVISOR.read_text(), feature_version=(3, 10))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or alias.name for node in imports for alias in node.names}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names - {"tomllib"}
