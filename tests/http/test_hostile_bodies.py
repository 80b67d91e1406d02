"""Hostile answers against the real clients over loopback, in a process of 1 GB: none ends it, good polls are stored."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_bodies import KINDS, HostileHost

_READER = Path(__file__).with_name("hostile_reader.py")
MAX_RESIDENT_BYTES = 700 * 2**20


def read_hostile(home: Path, seed: int, count: int, seconds: float) -> list[dict[str, object]]:
    """Have ``count`` answers read; return what became of each, and assert what must hold of all."""
    with HostileHost(seed) as host:
        command = [sys.executable, str(_READER), str(home), host.url, "0", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr[-3000:]
    *lines, summary = [json.loads(line) for line in done.stdout.splitlines()]
    good = [line["good"] for line in lines if "good" in line]
    assert len(good) == count // 10
    assert set(good) <= set(summary["stored"])
    assert summary["peak"] < MAX_RESIDENT_BYTES
    read = [line for line in lines if "good" not in line]
    assert len(read) == count
    assert "told a password" not in {line["outcome"] for line in read}
    assert "MemoryError" not in done.stderr
    assert max(line["cpu"] for line in read) < 60  # the quadratic ones took minutes
    return read


@pytest.mark.slow
def test_a_few_hostile_bodies_of_each_kind_are_refused_or_read_within_a_gigabyte(tmp_path: Path) -> None:
    read_hostile(tmp_path, 1, 2 * len(KINDS), 280)


@pytest.mark.acceptance
def test_a_thousand_hostile_bodies_are_refused_or_read_within_a_gigabyte(tmp_path: Path) -> None:
    read = read_hostile(tmp_path, 2, 1000, 3500)
    assert len({str(line["outcome"]) for line in read}) > 8
