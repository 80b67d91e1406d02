"""Picture files named by content hash: each content is stored once, for any number of threads.

Files are added and removed only while the caller holds the database's write lock, so that no process deletes a file
that another is about to reference. A file is written before the row that names it, and removed before its last row
changes. So a kill in between leaves a superfluous file, or a row that is corrected when the work is repeated, but never
a picture that should be deleted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import TEMPORARY_PREFIX, write_atomically
from bizcharts_pipeline.images.errors import StoreUnavailable
from bizcharts_pipeline.images.structure import EXTENSIONS, MediaType

FOLDER = "images"  # below the home
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(rf"([0-9a-f]{{64}})\.(?:{'|'.join(EXTENSIONS.values())})")


@dataclass(frozen=True)
class PictureStore:
    """The pictures under ``home/images``; the folder is accessible to its owner only."""

    home: Path

    @property
    def folder(self) -> Path:
        """The folder of the stored pictures."""
        return self.home / FOLDER

    def path(self, sha256: str, media_type: MediaType) -> Path:
        """Return the absolute path of a picture's content, whether or not the file exists."""
        if not _SHA256.fullmatch(sha256):
            raise ValueError("not a SHA-256 hash")
        return self.folder / sha256[:2] / sha256[2:4] / f"{sha256}.{EXTENSIONS[media_type]}"

    def put(self, sha256: str, media_type: MediaType, content: bytes) -> str:
        """Store a picture's ``content``; return its path relative to the home.

        Raises:
            StoreUnavailable: the file cannot be written.
        """
        path = self.path(sha256, media_type)
        try:
            if not path.exists():
                self.home.mkdir(parents=True, exist_ok=True)
                self.folder.mkdir(mode=0o700, exist_ok=True)
                write_atomically(path, content)
        except OSError as error:
            raise StoreUnavailable(f"{self.folder}: a picture cannot be stored: {reason_of(error)}") from None
        return path.relative_to(self.home).as_posix()

    def remove(self, sha256: str, media_type: MediaType) -> int:
        """Remove a picture's file; return its size in bytes, 0 if it did not exist."""
        return _removed(self.path(sha256, media_type))

    def files(self) -> Iterator[tuple[str | None, Path]]:
        """Yield every picture's file with the content hash in its name; ``None`` for a partial file of a killed
        process.
        """
        for path in self.folder.glob("??/??/*"):
            if not path.is_file():
                continue
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
