"""A machine whose network goes while PostgreSQL makes its commit: another machine writes to the lake afterwards."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import Postgres, running_postgres

from bizcharts_pipeline.warehouse.database import Database

SPACE, HERE, THERE = "bizcharts-cut", "10.77.0.1", "10.77.0.2"  # a network namespace is the other machine
LINK = "bizcut0"
# The server makes each commit three seconds long.
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(3); RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON ducklake_snapshot DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION slow()
"""
IN_COMMIT = "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'"
WRITE = """
import sys
from pathlib import Path
from bizcharts_pipeline.warehouse.database import Database
with Database.named(sys.argv[1], Path(sys.argv[2]), 60).write() as connection:
    connection.execute("INSERT INTO thread_observations (thread_id, seen_at) SELECT 9, now()::TIMESTAMP")
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@pytest.fixture
def server() -> Iterator[Postgres]:
    if os.getuid() or not shutil.which("ip"):
        pytest.skip("needs root and iproute2")
    try:
        ip("netns", "add", SPACE)
    except subprocess.CalledProcessError as refused:
        pytest.skip(f"needs network namespaces: {refused.stderr.decode()}")
    try:
        ip("link", "add", LINK, "type", "veth", "peer", "name", "there", "netns", SPACE)
        ip("addr", "add", f"{HERE}/24", "dev", LINK)
        ip("link", "set", LINK, "up")
        ip("-n", SPACE, "addr", "add", f"{THERE}/24", "dev", "there")
        ip("-n", SPACE, "link", "set", "there", "up")
        with running_postgres(HERE) as server:
            yield server
    finally:
        ip("netns", "del", SPACE)  # and the link with it


@pytest.mark.acceptance
@pytest.mark.fault(
    "dropped network", stage="database", expected="a writer that is cut off gives up before its lock is released"
)
def test_a_writer_that_is_cut_off_in_its_commit_has_given_up_before_another_machine_writes(
    server: Postgres, tmp_path: Path
) -> None:
    address, homes = server.new_lake(), (tmp_path / "here", tmp_path / "there")
    for home in homes:
        home.mkdir()
    lake = Database.named(address, homes[0], 120, str(tmp_path / "files"))
    lake.migrate()
    name = address.split("dbname=")[1].split()[0]
    server.query(SLOW, name)
    command = [sys.executable, "-c", WRITE, address.replace("127.0.0.1", HERE), str(homes[1])]
    writer = subprocess.Popen(["ip", "netns", "exec", SPACE, *command], stderr=subprocess.PIPE, text=True)
    while server.query(IN_COMMIT, name) == "0":
        assert writer.poll() is None, writer.stderr and writer.stderr.read()
        time.sleep(0.05)
    ip("link", "set", LINK, "down")
    with lake.write() as connection:
        assert writer.poll(), "it has not given up yet"
        connection.execute("INSERT INTO thread_observations (thread_id, seen_at) SELECT 10, now()::TIMESTAMP")
    assert "PostgreSQL does not answer" in writer.communicate(timeout=60)[1]
    with lake.read() as connection:
        assert connection.execute("SELECT thread_id FROM thread_observations").fetchall() == [(10,)]
