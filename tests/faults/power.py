"""A disk that can lose its power: an ext4 file system in a file, mounted through a loop device.

What a program has not flushed is in the kernel's memory and not in that file: nothing else is written to it for ten
minutes, and a rename flushes nothing. So a copy of the file is what a disk would hold after a power cut at that moment;
mounting it replays the file system's journal, as a start of the machine does.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MEGABYTES = 192
_OPTIONS = "loop,noatime,noauto_da_alloc,commit=600"
_FORMAT = "lazy_itable_init=0,lazy_journal_init=0"


@dataclass
class PoweredDisk:
    """The mounted disk."""

    folder: Path
    image: Path

    def flush(self) -> None:
        """Make the present state durable."""
        subprocess.run(["sync", "-f", str(self.folder)], check=True, timeout=60)

    def cut_and_restart(self) -> None:
        """Lose whatever was not flushed; no process may use the disk."""
        left = self.image.with_suffix(".cut")
        _run("cp", "--sparse=always", str(self.image), str(left))
        _run("umount", str(self.folder))
        os.replace(left, self.image)
        _mount(self.image, self.folder)


@contextmanager
def powered_disk(folder: Path) -> Iterator[PoweredDisk]:
    """Mount such a disk at ``folder``, or skip the test with a reason."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("needs root and mkfs.ext4, to mount a disk that loses what was not flushed")
    folder.mkdir(parents=True, exist_ok=True)
    image = folder.with_name(f"{folder.name}.image")
    try:
        _run("truncate", f"--size={MEGABYTES}M", str(image))
        _run("mkfs.ext4", "-q", "-F", "-E", _FORMAT, str(image))
        _mount(image, folder)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no file system in a file can be mounted here: {error.stderr.strip()}")
    try:
        yield PoweredDisk(folder, image)
    finally:
        _run("umount", "--lazy", str(folder))
        image.unlink()


def _mount(image: Path, folder: Path) -> None:
    _run("mount", "-o", _OPTIONS, str(image), str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
