"""A disk that is really full: a small file system in memory, which only root may mount."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """Mount a file system of this size at ``folder``, or skip the test with a reason."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system to fill")
    try:
        _mount(folder, f"size={kilobytes}k")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=60)


def resize(folder: Path, kilobytes: int) -> None:
    _mount(folder, f"remount,size={kilobytes}k")


def fill(file: Path) -> None:
    """Write until the disk of ``file`` is full."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4_096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _mount(folder: Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
