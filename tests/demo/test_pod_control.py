"""The pretended control plane rents real sshds, bills their lives, fails as told, and leaves nothing behind."""

# ruff: noqa: TID253  (the SDK is what is tested)

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
import runpod
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.demo.pods.cloud import RentedPod
from bizcharts_pipeline.demo.pods.control import PodControl
from bizcharts_pipeline.demo.pods.faults import Chance, PodFault, PodFaults
from bizcharts_pipeline.demo.pods.processes import processes_of
from bizcharts_pipeline.pods import keys, plan, remote
from bizcharts_pipeline.pods.errors import BadHost, HostChanged, LinkLost, NoCapacity
from bizcharts_pipeline.pods.protocol import Candidate, Pod, PodStatus, Transport
from bizcharts_pipeline.pods.providers.runpod_rest import RunPodRest
from bizcharts_pipeline.settings import PodSettings

CANDIDATE = Candidate("NVIDIA GeForce RTX 4090", "COMMUNITY", None)


class Tenant:
    """Rents pods as the pipeline does: over REST, with keys of its own and the pipeline's order."""

    def __init__(self, control: PodControl, folder: Path) -> None:
        self.control = control
        self.keys = folder / "keys"
        self.public = keys.make_keys(self.keys)
        self.provider = RunPodRest()

    def rent(self, name: str = "bizcharts-abc", seconds: int = 600) -> RentedPod:
        order = plan.order(PodSettings(), name, CANDIDATE, self.public, seconds)
        rented = self.control.cloud.get(self.provider.create(order).pod_id)
        assert rented is not None
        return rented

    def told(self, rented: RentedPod) -> Pod:
        return until(lambda: (pod := self.provider.get(rented.pod_id)) and pod.address and pod)

    def way(self, rented: RentedPod) -> Transport:
        """The way to a pod that can be reached."""
        way = self.provider.transport(self.told(rented), self.keys)

        def answers() -> bool:
            try:
                return way.run("true") == b""
            except LinkLost:
                return False

        until(answers)
        return way


def until(found: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PodControl]:
    faults = PodFaults(boot_seconds=0.2, event_seconds=(0.2, 0.3), link_bytes=(30, 30), stale_seconds=3)
    with PodControl(tmp_path / "cloud", faults) as plane:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("RUNPOD_API_BASE_URL", plane.url)
        monkeypatch.setenv("RUNPOD_API_KEY", plane.key)
        monkeypatch.setattr(runpod, "api_key", plane.key)
        yield plane


@pytest.fixture
def tenant(control: PodControl, tmp_path: Path) -> Tenant:
    return Tenant(control, tmp_path)


def ask(control: PodControl, method: str, path: str, key: str, **more: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return requests.request(method, f"{control.url}{path}", headers=headers, timeout=20, **more)


# Lives and bills.


def test_the_bill_is_the_lives_of_the_pods_by_their_listed_prices(control: PodControl, tenant: Tenant) -> None:
    lives = {}
    for name, candidate, price in (
        ("bizcharts-a", CANDIDATE, "0.34"),
        ("bizcharts-b", Candidate("NVIDIA RTX A5000", "SECURE", None), "0.27"),
    ):
        begun = time.monotonic()
        order = plan.order(PodSettings(), name, candidate, tenant.public, 600)
        pod_id = tenant.provider.create(order).pod_id
        inside = time.monotonic()
        time.sleep(0.3)
        outside = time.monotonic()
        tenant.provider.terminate(pod_id)
        lives[name] = (outside - inside, time.monotonic() - begun, Decimal(price))
    assert control.bill().alive == 0
    for charge in control.bill().charges:
        least, most, price = lives[charge.name]
        assert math.ceil(least) <= charge.seconds <= math.ceil(most)
        assert charge.usd == price * charge.seconds / 3600
    assert control.bill().usd == sum(charge.usd for charge in control.bill().charges)
    before = control.bill()
    time.sleep(1.1)
    assert control.bill() == before


def test_a_pod_that_is_forgotten_deletes_itself_when_its_time_is_over(control: PodControl, tenant: Tenant) -> None:
    rented = tenant.rent(seconds=2)
    until(lambda: not control.cloud.pods())
    assert until(lambda: not processes_of(rented.pod_id))
    charge = control.bill().charges[0]
    assert charge.ended
    assert charge.seconds >= 2


def test_a_terminated_pod_leaves_no_process_and_no_folder(control: PodControl, tenant: Tenant) -> None:
    rented = tenant.rent()
    way = tenant.way(rented)
    way.run("nohup sleep 1000 >/dev/null 2>&1 & setsid sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 </dev/null &")
    session = subprocess.Popen([*way._ssh(), "pod", "sleep 1000"])  # type: ignore[attr-defined]
    assert rented.machine._sshd is not None
    sshd = rented.machine._sshd.pid
    until(lambda: len(_names(processes_of(rented.pod_id, [sshd])) & {"sleep", "sshd", "bash"}) == 3)
    alive = processes_of(rented.pod_id, [sshd])
    tenant.provider.terminate(rented.pod_id)
    assert not processes_of(rented.pod_id)
    assert not [pid for pid in alive if _state(pid) not in (None, "Z")]
    assert not rented.machine.folder.exists()
    assert session.wait(20) != 0


def _names(pids: set[int]) -> set[str]:
    return {path.read_text().strip() for pid in pids if (path := Path(f"/proc/{pid}/comm")).exists()}


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def test_a_control_plane_of_its_own_process_takes_its_pods_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "bizcharts_pipeline.demo.pods.control", "--folder", str(tmp_path / "pods")]
    faults = json.dumps({"seed": 3, "boot_seconds": 0.1, "link_bytes": [0, 10]})
    plane = subprocess.Popen([*command, "--faults", faults], stdout=subprocess.PIPE, text=True)
    try:
        assert plane.stdout is not None
        said = json.loads(plane.stdout.readline())
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("RUNPOD_API_BASE_URL", said["url"])
        monkeypatch.setenv("RUNPOD_API_KEY", said["key"])
        provider = RunPodRest()
        public = keys.make_keys(tmp_path / "keys")
        requests.post(f"{said['url']}/demo/fail_next", json=["no_capacity"], timeout=10)
        order = plan.order(PodSettings(), "bizcharts-abc", CANDIDATE, public, 600)
        with pytest.raises(NoCapacity):
            provider.create(order)
        pod_id = provider.create(order).pod_id
        until(lambda: (pod := provider.get(pod_id)) and pod.address)
        until(lambda: processes_of(pod_id))  # a process that is just starting its program shows no environment
        bill = requests.get(f"{said['url']}/demo/bill", timeout=10).json()
        assert [(charge["name"], charge["ended"]) for charge in bill["pods"]] == [("bizcharts-abc", False)]
    finally:
        plane.send_signal(signal.SIGTERM)
        last, _ = plane.communicate(timeout=30)
    assert json.loads(last)["alive"] == 0
    assert not processes_of(pod_id)


# Who may do what.


def test_a_pods_own_key_ends_that_pod_and_does_nothing_else(control: PodControl, tenant: Tenant) -> None:
    mine, other = tenant.rent("bizcharts-a"), tenant.rent("bizcharts-b")
    key = mine.machine.pod_key

    def graphql(query: str) -> Any:
        return ask(control, "POST", "/graphql", key, json={"query": query}).json()

    assert ask(control, "GET", "/v2/pods", key).status_code == 403
    assert ask(control, "POST", "/v2/pods", key, json={}).status_code == 403
    assert ask(control, "DELETE", f"/v2/pods/{other.pod_id}", key).status_code == 403
    assert "errors" in graphql("query { myself { pods { id } } }")
    assert "errors" in graphql(f'mutation {{ podTerminate(input: {{podId: "{other.pod_id}"}}) }}')
    assert "errors" not in graphql(f'mutation {{ podTerminate(input: {{podId: "{mine.pod_id}"}}) }}')
    assert [pod.pod_id for pod in control.cloud.pods()] == [other.pod_id]
    assert ask(control, "DELETE", f"/v2/pods/{other.pod_id}", other.machine.pod_key).status_code == 204
    assert ask(control, "GET", "/v2/pods", "nobody").status_code == 401
    assert ask(control, "POST", "/graphql", "nobody", json={"query": "{myself{id}}"}).status_code == 401


def test_the_accounts_key_is_nowhere_on_a_pod(control: PodControl, tenant: Tenant) -> None:
    rented = tenant.rent()
    seen = tenant.way(rented).run("env; cat $BIZCHARTS_WORKSPACE/.bizcharts-pod.json")
    assert rented.machine.pod_key.encode() in seen
    assert control.key.encode() not in seen
    files = [path for path in rented.machine.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if control.key.encode() in path.read_bytes()]
    for pid in processes_of(rented.pod_id):
        assert control.key.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


# Queries.


@pytest.mark.parametrize(
    "wrong", [{"env": {"A": 'say "hi"'}}, {"docker_args": 'bash -c "true"'}, {"min_download": '"fast"'}]
)
def test_what_the_sdk_garbles_is_refused_as_the_schema_has_it(control: PodControl, wrong: dict[str, Any]) -> None:
    with pytest.raises(runpod.error.QueryError):
        runpod.create_pod("bizcharts-abc", "image", CANDIDATE.gpu, cloud_type="COMMUNITY", **wrong)
    assert control.cloud.pods() == []


def test_every_pod_function_of_the_sdk_is_answered(control: PodControl) -> None:
    assert runpod.get_user()["networkVolumes"] == []
    assert {"id", "displayName", "memoryInGb"} == set(runpod.get_gpus()[0])
    assert runpod.get_gpu(CANDIDATE.gpu)["lowestPrice"]["uninterruptablePrice"] == 0.34
    made = runpod.create_pod("bizcharts-abc", "image", CANDIDATE.gpu, cloud_type="COMMUNITY", env={"A": "b"})
    assert set(made) == {"id", "imageName", "env", "machineId", "machine"}
    assert runpod.get_pod(made["id"])["desiredStatus"] == "RUNNING"
    assert runpod.get_pod(made["id"])["runtime"] is None
    assert runpod.get_pods()[0]["env"] == ["A=b"]
    runpod.terminate_pod(made["id"])
    with pytest.raises(runpod.error.QueryError, match="pod not found to terminate"):
        runpod.terminate_pod(made["id"])
    assert runpod.get_pod(made["id"]) is None


# Faults.


@pytest.mark.slow
def test_a_reset_container_is_another_host_with_an_empty_folder_at_another_port(
    control: PodControl, tenant: Tenant
) -> None:
    control.fail_next(PodFault.STALE_PORTS)
    rented = tenant.rent()
    way = tenant.way(rented)
    way.run("touch $BIZCHARTS_WORKSPACE/mine; (sleep 1000 </dev/null >/dev/null 2>&1 &)")
    before = tenant.told(rented)
    threading.Thread(target=rented.machine.reset, daemon=True).start()
    until(lambda: rented.machine.boots == 2 and tenant.told(rented).address == before.address)
    with pytest.raises(LinkLost):
        way.run("true")
    after = until(lambda: (pod := tenant.told(rented)) != before and pod)
    assert after.address is not None
    with pytest.raises(HostChanged):
        tenant.provider.transport(after, tenant.keys).run("true")
    (tenant.keys / keys.KNOWN_HOSTS).unlink()
    left = tenant.provider.transport(after, tenant.keys).run("ls $BIZCHARTS_WORKSPACE; pgrep -x sleep -a || true")
    assert b"mine" not in left
    assert not [pid for pid in processes_of(rented.pod_id) if b"1000" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize("fault", [PodFault.NO_GPU, PodFault.DISK_FULL])
def test_a_bad_host_shows_itself_before_anything_is_sent(control: PodControl, tenant: Tenant, fault: PodFault) -> None:
    control.fail_next(fault)
    with pytest.raises(BadHost):
        remote.preflight(tenant.way(tenant.rent()), needs_gpu=True, least_disk_gb=40)


def test_a_good_host_has_the_card_that_was_ordered(tenant: Tenant) -> None:
    facts = remote.preflight(tenant.way(tenant.rent()), needs_gpu=True, least_disk_gb=40)
    assert facts.gpu == CANDIDATE.gpu
    assert facts.has_rsync


def test_a_killed_pod_vanishes_and_an_exited_one_stays_listed(control: PodControl, tenant: Tenant) -> None:
    control.fail_next(PodFault.POD_KILLED)
    killed = tenant.rent("bizcharts-a")
    until(lambda: tenant.provider.get(killed.pod_id) is None)
    assert until(lambda: not processes_of(killed.pod_id))
    control.fail_next(PodFault.POD_EXITED)
    exited = tenant.rent("bizcharts-b")
    ended = until(lambda: (pod := tenant.provider.get(exited.pod_id)) and pod.status is PodStatus.ENDED and pod)
    assert ended.address is None
    assert until(lambda: not processes_of(exited.pod_id))
    assert control.bill().alive == 0
    tenant.provider.terminate(exited.pod_id)
    assert tenant.provider.find("") == []


def test_a_pod_that_never_boots_and_one_on_a_dead_host_cannot_be_reached(control: PodControl, tenant: Tenant) -> None:
    control.fail_next(PodFault.BOOT_NEVER)
    never = tenant.rent("bizcharts-a")
    control.fail_next(PodFault.DEAD_HOST)
    dead = tenant.rent("bizcharts-b")
    address = tenant.told(dead).address
    assert address is not None
    until(lambda: _connects(address.port))
    with socket.create_connection((address.host, address.port), timeout=0.3) as connection, pytest.raises(TimeoutError):
        connection.recv(1)
    still = tenant.provider.get(never.pod_id)
    assert still is not None
    assert (still.status, still.address) == (PodStatus.STARTING, None)


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_links_break_as_they_do_outside(control: PodControl, tenant: Tenant) -> None:
    rented = tenant.rent()
    way = tenant.way(rented)
    control.fail_next(PodFault.LINK_DROPPED)
    with pytest.raises(LinkLost):
        way.run("true")
    assert way.run("echo again") == b"again\n"
    control.fail_next(PodFault.LINK_STALLED)
    assert rented.port is not None
    with socket.create_connection(("127.0.0.1", rented.port), timeout=0.5) as connection:
        connection.sendall(b"SSH-2.0-test\r\n")
        with pytest.raises(TimeoutError):
            connection.makefile("rb").read()  # to an end that does not come


def test_a_bad_spell_lasts_some_requests_and_passes(tmp_path: Path) -> None:
    faults = PodFaults(seed=5, api_429=0.05, api_410=0.05, spell_requests=3)
    with PodControl(tmp_path / "cloud", faults) as control:
        answers = [ask(control, "GET", "/v2/pods", control.key) for _ in range(200)]
    spells = "".join({200: ".", 429: "b", 410: "g"}[answer.status_code] for answer in answers)
    runs = [run for run in spells.strip("bg").split(".") if run]
    assert "b" in spells
    assert "g" in spells
    assert all(len(run) % 3 == 0 for run in runs)
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 429)


@given(seed=st.integers(0, 1000), names=st.permutations(["a", "b", "c", "d"]))
def test_the_same_names_meet_the_same_faults_in_any_order(seed: int, names: list[str]) -> None:
    faults = PodFaults(seed=seed, no_capacity=0.5, boot_never=0.3)

    def fates(order: list[str]) -> dict[str, list[bool]]:
        chance = Chance(faults)
        drawn: dict[str, list[bool]] = {name: [] for name in order}
        for _ in range(3):
            for name in order:
                drawn[name] += [chance.meets(fault, name) for fault in (PodFault.NO_CAPACITY, PodFault.BOOT_NEVER)]
        return drawn

    assert fates(names) == fates(sorted(names))


def test_the_probability_of_every_fault_can_be_set() -> None:
    for fault in PodFault:
        assert Chance(PodFaults(**{fault.value: 1.0})).meets(fault, "a")
        assert not Chance(PodFaults()).meets(fault, "a")


def test_a_pod_does_not_inherit_the_environment_of_whoever_runs_the_control_plane(tenant: Tenant) -> None:
    os.environ["BIZCHARTS_C3_PROBE"] = "here"
    try:
        rented = tenant.rent()
        assert b"BIZCHARTS_C3_PROBE" not in tenant.way(rented).run("env")
    finally:
        del os.environ["BIZCHARTS_C3_PROBE"]
