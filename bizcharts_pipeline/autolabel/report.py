"""What a run of labelling did, and what it would cost."""

from dataclasses import dataclass
from decimal import Decimal

from bizcharts_pipeline.autolabel.batches import BatchReport
from bizcharts_pipeline.autolabel.budget import Spent
from bizcharts_pipeline.autolabel.concurrency_limit import Closing
from bizcharts_pipeline.autolabel.keys import Version

_FAULTS = frozenset({"stop", "bug", "silence"})


@dataclass(frozen=True)
class ProviderReport:
    """What became of the posts that one provider was to be asked about in this run."""

    version: Version
    posts: int
    by_status: dict[str, int]  # of those posts, as in `auto_labels`
    closing: Closing | None  # why it was asked nothing more, if it was not asked everything
    batches: BatchReport | None

    @property
    def left(self) -> int:
        """How many have no final status."""
        return self.by_status.get("pending", 0)

    @property
    def fault(self) -> str | None:
        """Why the provider could not go on; ``None`` where it could."""
        if self.closing is None or self.closing.kind not in _FAULTS:
            return None
        return f"{self.version.provider} {self.version.model}: {self.closing.why}"


@dataclass(frozen=True)
class Report:
    """What one run did."""

    run_id: str
    providers: tuple[ProviderReport, ...]
    run: Spent
    month: Spent
    latencies: tuple[float, ...]  # seconds of each request that was waited for, sorted
    rows_changed: int

    @property
    def faults(self) -> list[str]:
        """Why providers could not go on."""
        return [provider.fault for provider in self.providers if provider.fault]

    @property
    def left(self) -> int:
        """How many of the posts that were to be asked have no final status."""
        return sum(provider.left for provider in self.providers)

    def latency(self, share: float) -> float | None:
        """Return the latency in seconds that ``share`` of the requests had at most."""
        if not self.latencies:
            return None
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


@dataclass(frozen=True)
class ProviderEstimate:
    """What one provider would be asked next, and what that would cost."""

    version: Version
    posts: int
    with_picture: int
    already_paid: int  # posts that have a final status of this version
    likely_usd: Decimal
    worst_usd: Decimal
    days: float  # at the account's limits


@dataclass(frozen=True)
class Estimate:
    """What a run would cost if nothing stopped it; the caps may."""

    providers: tuple[ProviderEstimate, ...]
    month: Spent
    usd_per_run: Decimal
    usd_per_month: Decimal
