"""Several machines share Dagster's records, and one of them runs its daemon."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from installation import Installation
from postgres import Postgres

from bizcharts_pipeline.core import postgres as engine
from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.service.daemon_turn import ASK_EVERY_SECONDS, DaemonTurn
from bizcharts_pipeline.service.jobs import INSTANCE_FILE, NoInstance, instance_folder
from bizcharts_pipeline.service.scheduler_records import forget_future
from bizcharts_pipeline.service.supervisor import Child, Supervisor
from bizcharts_pipeline.settings import REPOSITORY_ROOT, postgres_words

START = datetime(2026, 3, 2, 12, 0)
DEPLOY = REPOSITORY_ROOT / "deploy"


@pytest.fixture
def board() -> Iterator[SimulatedBoard]:
    with SimulatedBoard(World(3, START - timedelta(days=1), 2), now=START) as board:
        yield board


@pytest.mark.slow
def test_runs_of_two_machines_are_in_one_history_and_their_files_hold_none(
    tmp_path: Path, board: SimulatedBoard, postgres: Postgres
) -> None:
    address = postgres.new_lake()
    database = re.search(r"dbname=(\w+)", address)
    assert database
    for name in ("one", "other"):
        here = Installation(tmp_path / name, board.url)
        here.extra |= {"BIZCHARTS_DATABASE": address, "BIZCHARTS_DATABASE_FILES": str(tmp_path / "lake")}
        (here.dagster_home / INSTANCE_FILE).unlink()
        done = here.run_command("run", "live", now=board.now)
        assert done.returncode == 0, done.stderr
        assert not list(here.dagster_home.rglob("*.db"))
        board.now += timedelta(minutes=1)
    runs = postgres.query("SELECT pipeline_name, status FROM dagster.runs", database[1])
    assert runs.splitlines() == ["live|SUCCESS"] * 2
    # A clock that was ahead left a tick there, which would silence its schedule.
    tick = "INSERT INTO dagster.job_ticks (timestamp, status, type, tick_body) VALUES ('2099-01-01', 'SKIPPED', '', '')"
    postgres.query(tick, database[1])
    assert forget_future(here.dagster_home, to_epoch(board.now), postgres_words(address)) == 1
    assert forget_future(here.dagster_home, to_epoch(board.now), postgres_words(address)) == 0


def test_an_instance_names_its_database_without_a_password_and_one_that_exists_is_left_alone(
    tmp_path: Path, postgres: Postgres
) -> None:
    words = postgres_words(postgres.new_lake())
    surroundings = {"DAGSTER_HOME": str(tmp_path)}
    instance_folder(surroundings, words)
    written = yaml.safe_load((tmp_path / INSTANCE_FILE).read_text())
    assert set(written["storage"]) == {"postgres"}
    assert "search_path%3Ddagster" in written["storage"]["postgres"]["postgres_url"]
    assert "password" not in written["storage"]["postgres"]["postgres_url"]
    (tmp_path / INSTANCE_FILE).write_text("telemetry: {enabled: false}\n")
    instance_folder(surroundings, words)
    assert yaml.safe_load((tmp_path / INSTANCE_FILE).read_text()) == {"telemetry": {"enabled": False}}
    (tmp_path / "new").mkdir()
    with pytest.raises(NoInstance, match="PostgreSQL does not answer"):
        instance_folder(surroundings, "dbname=x host=127.0.0.1 port=9")
    with pytest.raises(NoInstance, match=r"PostgreSQL refuses|does not exist"):
        instance_folder({"DAGSTER_HOME": str(tmp_path / "new")}, f"{words} user=nobody_known")


def test_one_machine_has_the_turn_and_another_takes_over_when_it_ends_or_the_server_restarts(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, now, said = postgres_words(postgres.new_lake()), [0.0], list[str]()

    def later(turn: DaemonTurn) -> bool:
        now[0] += ASK_EVERY_SECONDS
        return turn.is_ours()

    with DaemonTurn(words, said.append, lambda: now[0]) as other:
        with DaemonTurn(words, lambda _: None, lambda: now[0]) as first:
            assert later(first)
            assert not later(other)
            assert later(first)
            postgres.kill()
            monkeypatch.setattr(engine, "_PAUSE_SECONDS", 0.0)
            assert not later(first)
            assert not later(other)
            postgres.start()
            assert [later(other), later(first)] == [True, False], "one of the two takes it again"
        assert later(other)
    with DaemonTurn(words, said.append, lambda: now[0]) as third:
        assert later(third)
    assert said[0] == "the daemon runs on another machine; this one stands by"


def test_a_program_runs_only_while_it_may(tmp_path: Path) -> None:
    may = [False]
    child = Child("daemon", ["sleep", "60"], may_run=lambda: may[0])
    said: list[str] = []
    supervisor = Supervisor([child], {"PATH": "/usr/bin:/bin"}, tmp_path, said.append, clock=lambda: 1e6)
    supervisor.check_children()
    assert child.process is None
    may[0] = True
    supervisor.check_children()
    assert child.process is not None
    process, may[0] = child.process, False
    supervisor.check_children()
    process.wait(10)
    supervisor.check_children()
    assert child.process is None
    assert said == ["daemon stopped"]
    may[0] = True
    supervisor.check_children()
    assert child.process is not None, "it is started at once, as it did not fail"
    supervisor.stop()


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.lake.yaml").read_text())
    return found


def test_the_containers_of_runs_have_the_network_volumes_and_variables_of_the_services() -> None:
    services = compose()["services"]
    launcher = yaml.safe_load((DEPLOY / "dagster.lake.yaml").read_text())["run_launcher"]["config"]
    assert launcher["network"] == compose()["networks"]["default"]["name"]
    assert launcher["image"] == services["daemon"]["image"] == services["code"]["image"]
    named = {key: value["name"] for key, value in compose()["volumes"].items()}
    mounts = {
        f"{named[source]}:{target}" for source, _, target in (v.partition(":") for v in services["code"]["volumes"])
    }
    assert set(launcher["container_kwargs"]["volumes"]) == mounts
    assert set(launcher["container_kwargs"]) >= {"mem_limit", "nano_cpus", "auto_remove"}


def test_a_container_begins_with_settings_that_load_and_passes_each_of_them_to_its_runs(tmp_path: Path) -> None:
    of_compose = {name: str(value) for name, value in compose()["services"]["daemon"]["environment"].items()}
    of_env_file = {"BIZCHARTS_IMAGES__LIVE": "false", "OPENAI_API_KEY": "sk-test"}
    here = {"BIZCHARTS_HOME": str(tmp_path / "data"), "DAGSTER_HOME": str(tmp_path), "PGPASSWORD": "x"}
    none = {"BIZCHARTS_SETTINGS_FILE": "/dev/null", "BIZCHARTS_ENV_FILE": "/dev/null", "UNRELATED": "1"}
    program = "from bizcharts_pipeline.settings import load_settings; print(load_settings().images.live)"
    done = subprocess.run(
        [sys.executable, "deploy/entrypoint.py", sys.executable, "-c", program],
        cwd=REPOSITORY_ROOT,
        env={**os.environ, **of_compose, **of_env_file, **here, **none},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "False\n"
    instance = yaml.safe_load((tmp_path / INSTANCE_FILE).read_text())
    assert set(instance) >= {"storage", "run_launcher", "run_queue", "concurrency", "run_monitoring"}
    assert instance["storage"]["postgres"]["postgres_url"]["env"] in of_compose
    passed = instance["run_launcher"]["config"]["env_vars"]
    assert set(passed) >= {*of_compose, *of_env_file}
    assert not {"UNRELATED", "PATH"} & set(passed)


def test_every_service_is_limited_to_this_machine_and_one_daemon_alone_reaches_docker() -> None:
    services = compose()["services"]
    assert set(services) == {"postgres", "code", "daemon", "web"}
    assert {name: each["ports"] for name, each in services.items() if "ports" in each} == {
        "web": ["127.0.0.1:3000:3000"]
    }
    docker = [name for name, each in services.items() if any("docker.sock" in str(v) for v in each.get("volumes", []))]
    assert docker == ["daemon"]
    for name, service in services.items():
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert set(service.get("depends_on", [])) <= set(services)
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source.startswith("/var/run/") or source in compose()["volumes"]
        for config in service.get("configs", []):
            assert config["source"] in compose()["configs"]
    assert "PASSWORD: ${PGPASSWORD:?" in (DEPLOY / "compose.lake.yaml").read_text()


def test_the_image_has_the_projects_instance_with_postgresql_and_containers_for_runs() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["python", "deploy/entrypoint.py"]' in dockerfile
    installed = re.search(r"--require-hashes --no-deps((?: -r \S+)+)$", dockerfile, re.M)
    assert installed
    for lock in installed[1].split()[1::2]:
        assert (REPOSITORY_ROOT / lock).is_file()
    assert re.search(r"^USER \d+$", dockerfile, re.M)
    ignored = (REPOSITORY_ROOT / ".dockerignore").read_text().splitlines()
    assert {".env", "settings.toml", "data"} <= set(ignored)
