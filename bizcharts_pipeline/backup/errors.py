"""Errors of backup, restore and repair."""

from collections.abc import Sequence
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError


class BackupFailed(BizchartsError):
    """No backup was made; no file of it is left."""


class RestoreInterrupted(BizchartsError):
    """A restore has begun to replace files, and one could not be replaced; it can be continued."""


class NoSpace(BizchartsError):
    """The disk of a folder is full.

    ``outcome`` says what was not done; ``needed`` is what a backup or restore puts there, in bytes, if that is known.
    """

    def __init__(self, outcome: str, folder: Path, needed: int | None = None) -> None:
        size = f", where it needs {needed / 1e6:,.1f} MB" if needed else ""
        super().__init__(
            f"{outcome}: there is no space left in {folder}{size}. Nothing was lost; free some space, and try again."
        )


class SourceDamaged(BackupFailed):
    """A part of the backup is damaged, so nothing was backed up."""

    def __init__(self, problems: Sequence[str], intact: Sequence[str]) -> None:
        rest = f" Intact: {', '.join(intact)}." if intact else ""
        super().__init__(
            f"Nothing was backed up. {' '.join(problems)} `bizcharts repair` shows what can be done.{rest}"
        )
        self.problems = tuple(problems)


class BackupDamaged(BizchartsError):
    """A file is an incomplete or damaged backup, or none at all; nothing was replaced."""

    def __init__(self, file: Path, what: str) -> None:
        super().__init__(f"{file} is not a valid backup: {what}. Nothing was replaced; use another backup.")


class NewerBackup(BizchartsError):
    """A backup was written by a newer version of BizCharts."""


class RestoreRefused(BizchartsError):
    """A backup cannot be restored now; nothing was replaced."""


class RepairRefused(BizchartsError):
    """The requested repair cannot be done; nothing was changed."""
