"""Writes the lock files: each package with its version and the SHA-256 of all its files, for every system.

Run by ``make lock`` in a fresh environment with the test extra and uv: ``python -m tools.lock UV``. What is written:
``requirements.lock`` is a plain installation, ``requirements-EXTRA.lock`` what an extra adds. PyTorch is in none of
them: its wheels for CPU and CUDA differ, and the pin in ``pyproject.toml`` says which version. No file names a package
index.
"""

import re
import subprocess
import sys
from tempfile import TemporaryDirectory

from tools.requirements import ROOT, installed, needed

_HEAD = "# {what}: written by `make lock`. Install with `pip install --require-hashes --no-deps -r {name}`.\n"


def main(uv: str) -> None:
    """Write the lock files of what is installed here."""
    found = installed()
    groups = needed(found)
    names = sorted({name for members in groups.values() for name in members})
    hashed = _hashed(uv, [f"{name}=={found[name].version.partition('+')[0]}" for name in names])
    for extra, members in groups.items():
        name = f"requirements-{extra}.lock" if extra else "requirements.lock"
        what = f"What the extra {extra} adds" if extra else "A plain installation"
        (ROOT / name).write_text(_HEAD.format(what=what, name=name) + "".join(hashed[one] for one in members))


def _hashed(uv: str, pins: list[str]) -> dict[str, str]:
    """Return of each package its lines of a lock file."""
    with TemporaryDirectory() as folder:
        command = [uv, "pip", "compile", "--no-deps", "--universal", "--python-version", "3.11", "--generate-hashes"]
        command += ["--no-emit-index-url", "--no-header", "--no-annotate", "--quiet", "-"]
        text = "\n".join(pins)
        made = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=folder).stdout
    blocks = re.findall(r"^(\S+?)==.*\n(?:[ ]{4}.*\n)+", made, re.MULTILINE)
    starts = re.split(r"^(?=\S)", made, flags=re.MULTILINE)[1:]
    if len(blocks) != len(pins):
        raise SystemExit(f"uv gave hashes for {len(blocks)} of {len(pins)} packages")
    return dict(zip(blocks, starts, strict=True))


if __name__ == "__main__":
    main(sys.argv[1])
