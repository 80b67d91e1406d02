"""What can go wrong between a home and its backups."""

from collections.abc import Sequence
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError


class BackupFailed(BizchartsError):
    """No backup was made; nothing is left of it."""


class SourceDamaged(BackupFailed):
    """Something that belongs to the backup is damaged, so that nothing was backed up."""

    def __init__(self, problems: Sequence[str], whole: Sequence[str]) -> None:
        rest = f" Whole: {', '.join(whole)}." if whole else ""
        super().__init__(f"Nothing was backed up. {' '.join(problems)}{rest}")
        self.problems = tuple(problems)


class BackupDamaged(BizchartsError):
    """A file is no whole backup of BizCharts; nothing was replaced."""

    def __init__(self, file: Path, what: str) -> None:
        super().__init__(f"{file} is no whole backup: {what}. Nothing was replaced; use another backup.")


class NewerBackup(BizchartsError):
    """A backup was written by a newer version of BizCharts."""


class RestoreRefused(BizchartsError):
    """A backup cannot be restored now; nothing was replaced."""


class RepairRefused(BizchartsError):
    """What was asked for cannot be done; nothing was changed."""
