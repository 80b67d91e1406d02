"""Supervises one job on a pod: limits its time, records its exit and terminates the pod.

  python supervisor.py launch FOLDER                           start the job in the background; idempotent
  python supervisor.py poll FOLDER MESSAGES_OFFSET LOG_OFFSET  one line of JSON, then new messages, then new log
  python supervisor.py cancel FOLDER                           stop the job
  python supervisor.py checkpoint FOLDER                       the newest complete checkpoint: its name and hashes

FOLDER is the job's own. It contains `job.json` with the instructions and `secrets.json`, which is read and removed;
`train.log`, `state.json`, `exit.json` and `manifest.json` are written, and every poll touches `lease`. A job is stopped
at its time limit, when it is cancelled, or when the lease expires without a poll. Then the supervisor waits for the
file `collected` or the end of the lease, and deletes the pod with the pod's own API key, unless the run does so first.
It retries until it succeeds: if the start command's guard was killed, nothing else on the pod can stop the billing. A
machine that is not rented is left alone.

It runs on any pod with Python 3.10 and no other file. If it receives SIGKILL, the job dies with it (Linux), and the
next launch kills the remains before it restarts the job.
"""

import ctypes
import fcntl
import hashlib
import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARKER = "BIZCHARTS_JOB_FOLDER"  # in the environment of every process of the job, to find them again
TICK_SECONDS = 0.2
GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL
LOG_BYTES = 200_000_000  # later output is discarded
CHUNK_BYTES = 1_000_000  # of messages and of log in one poll
RESERVE_BYTES = 1_000_000  # reserved, so that the exit of a job that filled the disk can be recorded
REQUEST_SECONDS = 20
ANSWER_BYTES = 65_536
DELETE_PAUSES = (2, 5, 10, 30, 60)  # seconds between the first attempts to delete the pod
DELETE_PAUSE = 300  # seconds between all later attempts
# The run's time to terminate the pod after it has collected the result: seconds, and share of the lease.
COLLECTED_SECONDS, COLLECTED_SHARE = 60, 1 / 12
PUBLIC_CONTROL = "https://api.runpod.io"
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)


# Files.


def write_json(path: Path, value: object) -> None:
    """Write a file of the pod's job atomically, through kills and power failures."""
    part = path.with_name(path.name + ".part")
    with part.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of the pod's job, or None if it does not exist."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every regular file below a folder on the pod, by path; links are not followed."""
    files = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if path.is_symlink() or not path.is_file():
                continue
            digest = hashlib.sha256()
            size = 0
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
                    size += len(block)
            files[path.relative_to(folder).as_posix()] = {"size": size, "sha256": digest.hexdigest()}
    return files


class Log:
    """The job's output, up to LOG_BYTES. A full disk does not stop the supervisor: the last output is kept in
    memory."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("ab", buffering=0)
        self.size = self.file.tell()
        self.path = path
        self.unwritten = b""

    def write(self, content: bytes) -> None:
        if self.size > LOG_BYTES:
            os.utime(self.path)  # shows that the job still prints
            return
        self.size += len(content)
        if self.size > LOG_BYTES:
            content += b"\n[the log is full: later output is discarded]\n"
        try:
            self.file.write(content)
        except OSError:
            self.unwritten = (self.unwritten + content)[-4000:]

    def write_rest(self) -> None:
        """Retry writing the job's output that did not fit on the pod's disk."""
        content, self.unwritten = self.unwritten, b""
        if content:
            self.write(b"\n" + content)


# The processes of the job.


def job_processes(folder: Path) -> list[int]:
    """Return the ids of all processes of the pod's job, in any process group or session."""
    mark = f"\0{MARKER}={folder}\0".encode()
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in b"\0" + environment.read_bytes() + b"\0":
                found.append(int(environment.parent.name))
        except OSError:
            continue  # another user's process, or it has ended
    return found


def signal_job(folder: Path, number: signal.Signals, group: int | None = None) -> bool:
    """Send a signal to all processes of the pod's job; return whether there were any."""
    processes = job_processes(folder)
    for process in processes:
        try:
            os.kill(process, number)
        except (ProcessLookupError, PermissionError):
            continue
    if group is not None:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return bool(processes)
        return True
    return bool(processes)


def kill_rest(folder: Path, group: int | None = None) -> None:
    """SIGKILL the remaining processes of the pod's job until none is left: they may start new ones meanwhile."""
    for _ in range(100):
        if not signal_job(folder, signal.SIGKILL, group):
            return
        time.sleep(0.05)


def start(command: list[str], folder: Path, environment: dict[str, str], output: int) -> subprocess.Popen[bytes]:
    """Start a process of the pod's job in its own group, which is killed when the supervisor ends."""
    me = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def end_with_parent() -> None:
        if libc is not None:
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            if os.getppid() != me:
                os._exit(1)

    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )


def time_of_boot() -> list[Any]:
    """Return the boot's id and the seconds since then, which are independent of the pod's wall clock."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return [boot.read_text().strip() if boot.exists() else "", time.clock_gettime(clock)]


def seconds_since(moment: list[Any]) -> float:
    """Return the seconds since a `time_of_boot` on the pod; after a reboot, since the reboot."""
    boot, now = time_of_boot()
    return float(now - moment[1]) if boot == moment[0] else float(now)


class Watch:
    """Determines whether and why the job must be stopped. The pod's wall clock may jump, so it is not used."""

    def __init__(self, folder: Path, job: dict[str, Any], started: list[Any]) -> None:
        self.folder = folder
        ran = min(max(seconds_since(started), 0.0), job["max_runtime_seconds"])
        self.deadline = time.monotonic() + job["max_runtime_seconds"] - ran
        self.lease_seconds = float(job["lease_seconds"])
        self.lease: int | None = None
        self.renewed = time.monotonic()
        self.terminated = False
        signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, *_: object) -> None:
        self.terminated = True

    def lease_is_over(self) -> bool:
        try:
            lease: int | None = (self.folder / "lease").stat().st_mtime_ns
        except FileNotFoundError:
            lease = None
        if lease != self.lease:
            self.lease, self.renewed = lease, time.monotonic()
        return time.monotonic() - self.renewed > self.lease_seconds

    def reason(self) -> str | None:
        if self.terminated:
            return "killed"
        if (self.folder / "cancel").exists():
            return "cancelled"
        if time.monotonic() > self.deadline:
            return "max_runtime"
        return "lease" if self.lease_is_over() else None


def run(command: list[str], folder: Path, environment: dict[str, str], log: Log, watch: Watch) -> tuple[int, str]:
    """Run a command of the pod's job until it exits or must be stopped; return its exit code (negative: signal) and
    the reason."""
    reader, writer = os.pipe()
    try:
        child = start(command, folder, environment, writer)
    except OSError as error:
        log.write(f"{command[0]}: {error.strerror}\n".encode())
        os.close(reader)
        return 127, "exited"
    finally:
        os.close(writer)
    os.set_blocking(reader, False)
    pipe = Pipe(reader, log)
    reason: str | None = None
    killed_at: float | None = None
    while child.poll() is None:
        pipe.copy(TICK_SECONDS)
        if reason is None and (reason := watch.reason()) is not None:
            signal_job(folder, signal.SIGTERM, child.pid)
            killed_at = time.monotonic() + GRACE_SECONDS
        if killed_at is not None and time.monotonic() > killed_at:
            signal_job(folder, signal.SIGKILL, child.pid)
    kill_rest(folder, child.pid)
    pipe.copy(0)
    os.close(reader)
    return child.returncode, reason or ("killed" if child.returncode < 0 else "exited")


class Pipe:
    """Copies the job's stdout and stderr to the log."""

    def __init__(self, reader: int, log: Log) -> None:
        self.reader = reader
        self.log = log
        self.open = True

    def copy(self, seconds: float) -> None:
        """Wait up to ``seconds`` for output of the pod's job, and write all of it to the log."""
        if not self.open:
            time.sleep(seconds)
        elif select.select([self.reader], [], [], seconds)[0]:
            deadline = time.monotonic() + 1  # endless output must not keep the watch from being checked
            while self.open and time.monotonic() < deadline:
                try:
                    content = os.read(self.reader, 1 << 16)
                except BlockingIOError:
                    return
                self.open = bool(content)
                self.log.write(content)


# The job.


def launch(folder: Path) -> None:
    """Start the pod's supervisor in the background, unless one is running or the job has ended."""
    lock = os.open(folder / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not acquire(lock) or (folder / "exit.json").exists():
        (folder / "secrets.json").unlink(missing_ok=True)
        return
    kill_rest(folder)
    (folder / "lease").touch()
    if os.fork():
        return  # both processes hold the lock; the child keeps it
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.chdir(folder)
    supervise(folder)
    os._exit(0)


def acquire(lock: int) -> bool:
    """Take the lock of the pod's supervisor; retry, as a poll holds it for a moment while checking it."""
    for _ in range(10):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.1)
    return False


def is_alive(folder: Path) -> bool:
    """Return whether the pod's supervisor of the job in ``folder`` is running."""
    try:
        lock = os.open(folder / "supervisor.lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(lock)


def supervise(folder: Path) -> None:
    """Run the job to its end, then delete the pod in every case, even after a full disk, say."""
    try:
        run_to_end(folder)
    finally:
        delete_this_pod(folder)


def run_to_end(folder: Path) -> None:
    """Run the pod's job, record its exit, and wait until the result is collected."""
    log = Log(folder / "train.log")
    code: int | None = None
    reason, watch = "killed", None
    try:
        job = json.loads((folder / "job.json").read_text())
        started = (read_json(folder / "state.json") or {}).get("started") or time_of_boot()
        watch = Watch(folder, job, started)
        (folder / "reserve").write_bytes(b"\1" * RESERVE_BYTES)
        job["environment"] |= read_json(folder / "secrets.json") or {}
        (folder / "secrets.json").unlink(missing_ok=True)
        code, reason = run_job(folder, job, started, log, watch)
        if code == 0 and reason == "exited":
            write_json(folder / "manifest.json", {"files": manifest(folder / job["result"])})
    except Exception:
        log.write(traceback.format_exc().encode())
    kill_rest(folder)
    (folder / "reserve").unlink(missing_ok=True)
    log.write_rest()
    write_json(folder / "exit.json", {"code": code, "reason": reason, "ended_at": time.time()})
    if watch:
        wait_for_collection(folder, watch)


def wait_for_collection(folder: Path, watch: Watch) -> None:
    """Wait on the pod until the job's result is collected, or for the length of the lease. Then give the run that
    collected it time to terminate the pod itself, as only the run can verify at once that a pod it terminated is
    gone."""
    while not (folder / "collected").exists():
        if watch.lease_is_over():
            return
        time.sleep(TICK_SECONDS)
    if identity(folder) is not None:
        time.sleep(min(COLLECTED_SECONDS, watch.lease_seconds * COLLECTED_SHARE))


def run_job(folder: Path, job: dict[str, Any], started: list[Any], log: Log, watch: Watch) -> tuple[int, str]:
    """Run on the pod the setup command, then the job's command; return exit code and reason."""
    environment = job_environment(folder, job)
    state = {"started": started, "supervisor": os.getpid()}
    if job["setup"] is not None:
        write_json(folder / "state.json", {**state, "state": "setup"})
        code, reason = run(["/bin/sh", "-c", job["setup"]], folder, environment, log, watch)
        if code != 0 or reason != "exited":
            return code, "setup" if reason == "exited" else reason
    made = folder / "environment-python"
    python = made.read_text().strip() if made.exists() else job["python"]
    write_json(folder / "state.json", {**state, "state": "running"})
    return run([part.replace("{python}", python) for part in job["command"]], folder, environment, log, watch)


def job_environment(folder: Path, job: dict[str, Any]) -> dict[str, str]:
    """Return the environment of the pod's job: the container's without its secrets, this session's, and the job's own.

    Only a container's first process gets its variables; without them, a session's PATH differs from the image's.
    """
    first = first_environment()
    base = dict(os.environ)
    if "RUNPOD_POD_ID" in first:  # the session may have got the container's variables too
        base = {name: value for name, value in {**base, **first}.items() if not SECRET_NAME.search(name)}
    brought = {name: value.replace("{root}", str(folder)) for name, value in job["environment"].items()}
    path = [str(folder / "code"), *filter(None, [{**base, **brought}.get("PYTHONPATH")])]
    return {
        **base,
        **brought,
        "PYTHONPATH": os.pathsep.join(path),
        "BIZCHARTS_PYTHON": job["python"],
        MARKER: str(folder),
    }


def poll(folder: Path, messages_offset: int, log_offset: int) -> None:
    """Renew the lease of the pod's job; print the job's status, and its output after the two offsets."""
    (folder / "lease").touch()
    alive = is_alive(folder)  # before exit.json: a supervisor that ends after this has written that file
    ended = read_json(folder / "exit.json")
    messages, all_messages = chunk(folder / "messages.jsonl", messages_offset)
    log, all_log = chunk(folder / "train.log", log_offset)
    spoke = [path.stat().st_mtime_ns for path in (folder / "messages.jsonl", folder / "train.log") if path.exists()]
    header = {
        "alive": alive,
        "exit": ended if all_messages and all_log else None,
        "last_output": max(spoke) if spoke else None,
        "messages": len(messages),
        "log": len(log),
    }
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + messages + log)


def chunk(path: Path, offset: int) -> tuple[bytes, bool]:
    """Return the content of a file of the pod's job after an offset, up to a limit, and whether that was all of it."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(CHUNK_BYTES + 1)
    except FileNotFoundError:
        return b"", True
    return content[:CHUNK_BYTES], len(content) <= CHUNK_BYTES


def cancel(folder: Path) -> None:
    """Stop the pod's job; without a running supervisor, do it here."""
    (folder / "cancel").touch()
    if is_alive(folder) or (folder / "exit.json").exists():
        return
    kill_rest(folder)
    write_json(folder / "exit.json", {"code": None, "reason": "cancelled", "ended_at": time.time()})


def checkpoint(folder: Path) -> None:
    """Print name and manifest of the newest complete checkpoint of the pod's job: `trainer_state.json` is written
    last."""
    where = json.loads((folder / "job.json").read_text())["checkpoints"]
    whole = list((folder / where).glob("*/trainer_state.json")) if where else []
    newest = max(whole, key=lambda path: path.stat().st_mtime, default=None)
    name = newest.parent.relative_to(folder).as_posix() if newest else None
    print(json.dumps({"name": name, "files": manifest(newest.parent) if newest else {}}))  # noqa: T201 - the answer


# Termination of the pod.


def first_environment() -> dict[str, str]:
    """Return the environment of the pod's first process: the order's variables and the pod's own key."""
    try:
        content = Path("/proc/1/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(variable.split("=", 1) for variable in content.split("\0") if "=" in variable)


def identity(folder: Path) -> tuple[str, str, str] | None:
    """Return id, key and control plane of this pod; None if this is not a rented pod.

    The file is on the workspace, possibly a volume that another pod has written to. A job's folder ends with its pod's
    id, and only that pod may be deleted from here.
    """
    first = first_environment()
    names = {"pod_id": "RUNPOD_POD_ID", "api_key": "RUNPOD_API_KEY", "control_url": "BIZCHARTS_CONTROL_URL"}
    ordered_with = {name: first.get(variable) for name, variable in names.items()}
    for pod in (read_json(folder.parent.parent / ".bizcharts-pod.json") or {}, ordered_with):
        pod_id, key = pod.get("pod_id"), pod.get("api_key")
        if pod_id and key and folder.name.endswith(f"-{pod_id}"):
            return str(pod_id), str(key), str(pod.get("control_url") or PUBLIC_CONTROL)
    return None


def delete_this_pod(folder: Path) -> None:
    """Try every method to delete the pod until the API confirms it; the container ends with it."""
    pod = identity(folder)
    if pod is None:
        return
    pod_id, key, control = pod
    terminate = f'mutation {{ podTerminate(input: {{podId: "{pod_id}"}}) }}'
    stop = f'mutation {{ podStop(input: {{podId: "{pod_id}"}}) {{ id }} }}'  # its disk is still billed, its GPU is not

    def by_graphql(query: str) -> bool:
        return accepted(request("POST", f"{control}/graphql", key, {"query": query}))

    where = f"{control}/v2/pods/{pod_id}"
    ways: tuple[Callable[[], bool], ...] = (
        lambda: accepted(request("DELETE", where, key)),
        lambda: by_graphql(terminate),
        lambda: runpodctl(key, "pod", "delete", pod_id),
        lambda: runpodctl(key, "remove", "pod", pod_id),
        lambda: by_graphql(stop),
    )
    for pause in itertools.chain(DELETE_PAUSES, itertools.repeat(DELETE_PAUSE)):
        if any(way() and is_gone(request("GET", where, key)) for way in ways):
            return
        time.sleep(pause)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, so that the key goes only to the control plane."""

    def redirect_request(self, *_: object) -> None:
        return None


def request(method: str, url: str, key: str, body: object = None) -> tuple[int, dict[str, Any] | None] | None:
    """Send the pod's request to the control plane; return status and JSON object of the response ({}: empty body;
    None: not a JSON object); None without a response.

    A redirect is returned like any other response: it is not followed.
    """
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "User-Agent": "bizcharts-pod"}
    content = None if body is None else json.dumps(body).encode()
    try:
        asked = urllib.request.Request(url, data=content, headers=headers, method=method)
        with urllib.request.build_opener(NoRedirect).open(asked, timeout=REQUEST_SECONDS) as answer:
            return answer.status, json_object(answer.read(ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        try:
            return error.code, json_object(error.read(ANSWER_BYTES))
        except OSError:
            return error.code, None
    except (OSError, ValueError):
        return None


def json_object(content: bytes) -> dict[str, Any] | None:
    """Return the object in the JSON text that the pod received from the control plane, {} for empty text, None for
    anything else, such as a proxy's page."""
    try:
        found = json.loads(content.strip() or b"{}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def accepted(answer: tuple[int, dict[str, Any] | None] | None) -> bool:
    """Return whether RunPod's API itself accepted a request, or does not know the pod; a page or a redirect is not
    from the API."""
    status, found = answer or (0, None)
    if found is None:
        return False
    return status == 404 or (status in (200, 202, 204) and not found.get("errors") and not found.get("error"))


def is_gone(answer: tuple[int, dict[str, Any] | None] | None) -> bool:
    """Return whether the API confirms that the pod is deleted."""
    status, found = answer or (0, None)
    if found is None:
        return False
    return status == 404 or (status == 200 and "TERMINATED" in (found.get("desiredStatus"), found.get("status")))


def runpodctl(key: str, *arguments: str) -> bool:
    """Return whether RunPod's own tool, which is in its images, succeeds."""
    command = ["runpodctl", *arguments]
    environment = {**os.environ, "RUNPOD_API_KEY": key}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=REQUEST_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def main(arguments: list[str]) -> None:
    verb, folder = arguments[0], Path(arguments[1]).resolve()
    if verb == "launch":
        launch(folder)
    elif verb == "poll":
        poll(folder, int(arguments[2]), int(arguments[3]))
    elif verb == "cancel":
        cancel(folder)
    elif verb == "checkpoint":
        checkpoint(folder)
    else:
        sys.exit(f"no such verb: {verb}")


if __name__ == "__main__":
    main(sys.argv[1:])
