"""The way to a pod, by the real ssh and rsync programs to a real sshd."""

import getpass
import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pods.line import Line

from bizcharts_pipeline.demo.pods.sshd import Sshd, start_sshd
from bizcharts_pipeline.pods import manifest, transfer, transport
from bizcharts_pipeline.pods.errors import HostChanged, LinkError, LinkLost, LoginRefused, TransferError
from bizcharts_pipeline.pods.keys import make_keys, remove_keys
from bizcharts_pipeline.pods.manifest import Entry
from bizcharts_pipeline.pods.protocol import Address
from bizcharts_pipeline.pods.transport import CommandFailed, LocalTransport, SshTransport

LARGE = 12_000_000


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys of 100% of us"  # blanks and % mean something to ssh
    make_keys(folder)
    return folder


@pytest.fixture
def sshd(tmp_path: Path, keys: Path) -> Iterator[Sshd]:
    running = start_sshd(tmp_path / "host", make_keys(keys), {"BIZCHARTS_WORKSPACE": str(tmp_path / "pod")})
    yield running
    running.kill()


@pytest.fixture
def far(tmp_path: Path) -> str:
    """A folder on the pod, with a name that a shell would take apart."""
    return str(tmp_path / "pod" / "a job's $(folder); it")


def way(port: int, keys: Path) -> SshTransport:
    return SshTransport(Address("127.0.0.1", port, getpass.getuser()), keys)


def a_folder(folder: Path, large: int = 0) -> Path:
    files = {
        "plain.txt": b"as it is",
        "empty": b"",
        "deep/er/it's $HOME; a name.bin": os.urandom(5_000),
        "deep/ünïcode 图.txt": b"x" * 1_000,
    }
    for name, content in (files | ({"large.bin": os.urandom(large)} if large else {})).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_key_pair_is_made_once_is_private_and_leaves_nothing_behind(tmp_path: Path) -> None:
    public = make_keys(tmp_path / "pod")
    private = tmp_path / "pod" / "id_ed25519"
    assert public.startswith("ssh-ed25519 ")
    assert private.stat().st_mode & 0o777 == 0o600
    assert make_keys(tmp_path / "pod") == public
    private.unlink()  # a kill between the two renames
    assert make_keys(tmp_path / "pod") != public
    remove_keys(tmp_path / "pod")
    assert not list((tmp_path / "pod").iterdir())


def test_a_command_tells_its_own_status_even_the_one_that_is_ssh_s_word_for_a_lost_line(sshd: Sshd, keys: Path) -> None:
    pod = way(sshd.port, keys)
    binary = bytes(range(256)) * 40
    assert pod.run("cat", stdin=binary) == binary
    assert pod.run("printf '%s' \"it's $((1 + 1))\"; exit 0") == b"it's 2"
    for status in (1, 7, 127, 255):
        with pytest.raises(CommandFailed, match="a reason") as failed:
            pod.run(f"echo a reason >&2; exit {status}")
        assert failed.value.status == status
    with pytest.raises(CommandFailed) as failed:
        pod.run("kill -9 $(sh -c 'echo $PPID')")
    assert failed.value.status == 128 + 9
    with pytest.raises(LinkLost):  # the session is killed: nobody can tell what became of the command
        pod.run("kill -9 $PPID; sleep 5")
    with pytest.raises(LinkLost):  # what a command says of permissions is no word about the login
        pod.run("echo 'Permission denied (publickey).' >&2; sleep 1; kill -9 $PPID; sleep 5")


def test_a_command_that_does_not_end_or_says_too_much_is_ended(
    sshd: Sshd, keys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pod = way(sshd.port, keys)
    with pytest.raises(LinkLost, match="longer than 1 s"):
        pod.run("sleep 60", timeout_seconds=1)
    monkeypatch.setattr(transport, "ANSWER_BYTES", 100_000)
    for chatty in (pod, LocalTransport(tmp_path)):
        with pytest.raises(LinkLost, match="exceeds 100,000 bytes"):
            chatty.run("yes")


def test_another_key_is_refused_another_host_key_is_noticed_and_nobody_is_nobody(
    sshd: Sshd, keys: Path, tmp_path: Path
) -> None:
    make_keys(tmp_path / "others")
    with pytest.raises(LoginRefused):
        way(sshd.port, tmp_path / "others").run("true")
    with pytest.raises(LoginRefused):
        way(sshd.port, tmp_path / "others").push(a_folder(tmp_path / "mine"), str(tmp_path / "far"))
    way(sshd.port, keys).run("true")
    sshd.kill()
    with pytest.raises(LinkLost):
        way(sshd.port, keys).run("true")
    again = start_sshd(sshd.folder, make_keys(keys), {})  # the same machine at another port
    way(again.port, keys).run("true")
    again.kill()
    reset = start_sshd(tmp_path / "reset", make_keys(keys), {})
    try:
        with pytest.raises(HostChanged):
            way(reset.port, keys).run("true")
    finally:
        reset.kill()


def test_a_host_of_ones_own_is_known_by_its_file_or_not_spoken_to(sshd: Sshd, keys: Path, tmp_path: Path) -> None:
    address = Address("127.0.0.1", sshd.port, getpass.getuser())
    known = tmp_path / "known hosts"
    known.write_text("")
    own = SshTransport(address, keys / "id_ed25519", known)
    with pytest.raises(HostChanged):
        own.run("true")
    assert known.read_text() == ""
    host_key = (sshd.folder / "host_key.pub").read_text()
    known.write_text(f"[127.0.0.1]:{sshd.port} {host_key}")
    assert own.run("echo in") == b"in\n"


def test_folders_go_there_and_back_exactly_with_changes_and_removals(
    sshd: Sshd, keys: Path, far: str, tmp_path: Path
) -> None:
    pod = way(sshd.port, keys)
    pass_to_and_fro(pod.push, pod.pull, far, tmp_path)


def test_folders_go_there_and_back_exactly_by_a_shell_alone(
    far: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "CHUNK_BYTES", 3_000)  # so that there are large files
    run = LocalTransport(tmp_path).run

    def push(source: Path, target: str) -> None:
        Path(target).mkdir(parents=True, exist_ok=True)
        transfer.push(run, source, target, manifest.of_folder(source))

    pass_to_and_fro(push, lambda source, target: transfer.pull(run, source, target), far, tmp_path)


def pass_to_and_fro(
    push: Callable[[Path, str], None], pull: Callable[[str, Path], None], far: str, tmp_path: Path
) -> None:
    mine = a_folder(tmp_path / "mine")
    (mine / "__pycache__").mkdir()
    (mine / "__pycache__" / "x.pyc").write_bytes(b"1")
    wanted = manifest.of_folder(mine)
    push(mine, far)
    assert manifest.of_folder(Path(far)) == wanted
    assert not (Path(far) / "__pycache__").exists()

    before = (mine / "plain.txt").stat()
    (mine / "plain.txt").write_bytes(b"AS IT IS")  # the same size and the same time
    os.utime(mine / "plain.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    (mine / "empty").unlink()
    push(mine, far)
    assert manifest.of_folder(Path(far)) == manifest.of_folder(mine) != wanted

    (Path(far) / "passwords").symlink_to("/etc/passwd")
    back = tmp_path / "back"
    pull(far, back)
    pull(far, back)
    assert manifest.of_folder(back) == manifest.of_folder(mine)


def test_what_is_no_plain_file_is_not_sent(tmp_path: Path, sshd: Sshd, keys: Path) -> None:
    mine = a_folder(tmp_path / "mine")
    (mine / "link").symlink_to("/etc/passwd")
    with pytest.raises(TransferError, match="cannot be sent"):
        way(sshd.port, keys).push(mine, str(tmp_path / "far"))


@pytest.mark.slow
@pytest.mark.parametrize("with_rsync", [True, False])
@pytest.mark.parametrize("direction", ["push", "pull"])
def test_a_transfer_that_broke_off_goes_on_where_it_was(
    keys: Path, tmp_path: Path, far: str, direction: str, with_rsync: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "CHUNK_BYTES", LARGE // 3)
    sshd = start_sshd(tmp_path / "host", make_keys(keys), {} if with_rsync else {"PATH": str(without_rsync(tmp_path))})
    here = tmp_path / "here"
    a_folder(here if direction == "push" else Path(far), LARGE)
    a, b = (here, Path(far)) if direction == "push" else (Path(far), here)

    def transmit(through: Line) -> None:
        pod = way(through.port, keys)
        pod.push(here, far) if direction == "push" else pod.pull(far, here)

    with Line(sshd.port) as line:
        way(line.port, keys).run("true")
        line.reset_after(LARGE * 3 // 4)
        with pytest.raises(LinkLost):
            transmit(line)
        assert line.has_broken
        assert 0 < sum(path.stat().st_size for path in b.rglob("*") if path.is_file()) < LARGE
        line.reset_after(LARGE)  # it is not sent as a whole again
        transmit(line)
        assert not line.has_broken
    sshd.kill()
    assert manifest.of_folder(a) == manifest.of_folder(b)


def without_rsync(folder: Path) -> Path:
    """A folder of programs for a machine that has no rsync."""
    (folder / "bin").mkdir()
    for name in ("sh", "bash", "mkdir", "stat", "sha256sum", "cat", "mv", "rm", "tail", "head", "find", "tar", "xargs"):
        (folder / "bin" / name).symlink_to(str(shutil.which(name)))
    return folder / "bin"


@pytest.mark.slow
@pytest.mark.fault("dropped network", stage="training on a pod", expected="the transfer goes on where it was")
def test_an_sshd_killed_in_mid_transfer_costs_nothing_but_time(
    sshd: Sshd, keys: Path, tmp_path: Path, far: str
) -> None:
    mine = a_folder(tmp_path / "mine", 4 * LARGE)
    pod = way(sshd.port, keys)
    pod.run("true")
    over = threading.Event()

    def kill_it() -> None:
        while not over.is_set():
            if (large := Path(far) / "large.bin").exists() and large.stat().st_size > LARGE // 4:
                return sshd.kill()

    killer = threading.Thread(target=kill_it)
    killer.start()
    try:
        with pytest.raises(LinkLost):
            pod.push(mine, far)
    finally:
        over.set()
        killer.join()
    again = start_sshd(sshd.folder, make_keys(keys), {}, sshd.port)
    try:
        pod.push(mine, far)
    finally:
        again.kill()
    assert manifest.of_folder(Path(far)) == manifest.of_folder(mine)


@pytest.mark.slow
def test_a_line_that_falls_silent_is_given_up(
    sshd: Sshd, keys: Path, tmp_path: Path, far: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "ALIVE_SECONDS", 1)
    calls: list[Callable[[SshTransport], object]] = [
        lambda pod: pod.run("yes", timeout_seconds=90),
        lambda pod: pod.push(a_folder(tmp_path / "mine", LARGE), far),
    ]
    for call in calls:
        with Line(sshd.port) as line:
            pod = way(line.port, keys)
            pod.run("true")
            line.fall_silent_after(1_000_000)
            with pytest.raises(LinkLost):
                call(pod)
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(LinkLost):
        way(deaf.getsockname()[1], keys).run("true", timeout_seconds=2)


def test_a_host_that_sends_without_end_does_not_fill_the_disk(
    sshd: Sshd, keys: Path, far: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_folder(Path(far), 1_000_000)
    pod = way(sshd.port, keys)
    monkeypatch.setattr(manifest, "MAX_BYTES", 100_000)
    monkeypatch.setattr(transfer, "MAX_BYTES", 100_000)
    pod.pull(far, tmp_path / "back")  # rsync leaves out what is too large
    assert not (tmp_path / "back" / "large.bin").exists()
    monkeypatch.setattr(transport.shutil, "which", lambda _: None)
    with pytest.raises(TransferError, match="more than"):
        pod.pull(far, tmp_path / "back")


def test_commands_here_see_no_keys_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "secret")
    seen = LocalTransport(tmp_path).run("env").decode()
    assert "secret" not in seen
    assert f"BIZCHARTS_WORKSPACE={tmp_path}\n" in seen
    with pytest.raises(CommandFailed):
        LocalTransport(tmp_path).run("exit 3")


PATHS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4).map("/".join)


@given(PATHS)
def test_a_path_that_passes_stays_below_its_folder_and_means_nothing_to_a_shell_or_a_list(path: str) -> None:
    if manifest.is_plain(path):
        assert Path("/below", path).resolve().is_relative_to("/below")
        assert Path(path).as_posix() == path
        assert path.splitlines() == [path]
        assert shlex.split(shlex.quote(path)) == [path]
        assert path.encode()


@given(st.dictionaries(PATHS, st.binary(max_size=50), max_size=4))
def test_a_manifest_is_read_as_it_was_written_or_refused(content: dict[str, bytes]) -> None:
    files = {path: Entry(len(data), hashlib.sha256(data).hexdigest()) for path, data in content.items()}
    answer = {"files": {path: {"size": one.size, "sha256": one.sha256} for path, one in files.items()}}
    if all(map(manifest.is_plain, files)):
        assert manifest.parse(answer) == files
    else:
        with pytest.raises(TransferError):
            manifest.parse(answer)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"files": []},
        {"files": {"a": {"size": -1, "sha256": "0" * 64}}},
        {"files": {"a": {"size": 1, "sha256": "0"}}},
        {"files": {"a": {"size": 10**15, "sha256": "0" * 64}}},
        {"files": {"../a": {"size": 1, "sha256": "0" * 64}}},
    ],
)
def test_a_pod_s_list_of_files_is_not_believed(answer: object) -> None:
    with pytest.raises(TransferError):
        manifest.parse(answer)


def test_every_trouble_of_a_line_may_pass_another_time() -> None:
    assert all(kind.retry for kind in (LinkError, LinkLost, LoginRefused, HostChanged, TransferError))


def test_nothing_that_was_started_outlives_an_interrupted_call(tmp_path: Path) -> None:
    pod = LocalTransport(tmp_path)
    with pytest.raises(LinkLost):
        pod.run(f"sleep 1000 & echo $! > {tmp_path}/pid; wait", timeout_seconds=1)
    pid = int((tmp_path / "pid").read_text())
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False).stdout
    assert not state.strip() or state.startswith(b"Z")
