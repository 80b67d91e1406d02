"""Picture files by content hash: the same content is there once, however many threads show it.

Files come and go only while their caller holds the database's write turn, so that no process takes away what another
is about to refer to. A file is written before the row that names it and removed before its last row changes: a kill
in between leaves a file too many, or a row that the repeated work changes, and never a picture that should be gone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.core.files import TEMPORARY_PREFIX, write_atomically
from bizcharts_pipeline.images.structure import EXTENSIONS, MediaType

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(rf"([0-9a-f]{{64}})\.(?:{'|'.join(EXTENSIONS.values())})")


@dataclass(frozen=True)
class PictureStore:
    """The pictures under ``home/images``; the folder is this user's alone."""

    home: Path

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.home / "images"

    def path(self, sha256: str, media_type: MediaType) -> Path:
        """Return where that content is, or would be, as an absolute path."""
        if not _SHA256.fullmatch(sha256):
            raise ValueError("no SHA-256")
        return self.folder / sha256[:2] / sha256[2:4] / f"{sha256}.{EXTENSIONS[media_type]}"

    def put(self, sha256: str, media_type: MediaType, content: bytes) -> str:
        """Keep ``content``; return its path relative to the home."""
        path = self.path(sha256, media_type)
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            write_atomically(path, content)
        return path.relative_to(self.home).as_posix()

    def remove(self, sha256: str, media_type: MediaType) -> int:
        """Remove a file; return how many bytes it had, 0 if it was not there."""
        return _removed(self.path(sha256, media_type))

    def files(self) -> Iterator[tuple[str | None, Path]]:
        """Yield every file with the content hash that it is named by; ``None``: half a file that a kill has left."""
        for path in self.folder.glob("??/??/*"):
            if name := _NAME.fullmatch(path.name):
                yield name[1], path
            elif path.name.startswith(TEMPORARY_PREFIX):
                yield None, path


def _removed(path: Path) -> int:
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size
