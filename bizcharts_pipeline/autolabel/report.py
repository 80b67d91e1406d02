"""Report and estimate of a labelling run."""

from dataclasses import dataclass
from decimal import Decimal

from bizcharts_pipeline.autolabel.batches import BatchReport
from bizcharts_pipeline.autolabel.budget import Spent
from bizcharts_pipeline.autolabel.concurrency_limit import Closing
from bizcharts_pipeline.autolabel.keys import Version

_FAULTS = frozenset({"stop", "bug", "silence"})


@dataclass(frozen=True)
class ProviderReport:
    """Result of one provider in this run."""

    version: Version
    posts: int
    by_status: dict[str, int]  # of those posts, with the status names of `auto_labels`
    closing: Closing | None  # why no more requests were sent, if it stopped early
    batches: BatchReport | None

    @property
    def left(self) -> int:
        """The number of posts without a final status of this provider of labels."""
        return self.by_status.get("pending", 0)

    @property
    def fault(self) -> str | None:
        """The reason why the provider of labels failed; ``None`` if it did not."""
        if self.closing is None or self.closing.kind not in _FAULTS:
            return None
        return f"{self.version.provider} {self.version.model}: {self.closing.why}"


@dataclass(frozen=True)
class Report:
    """Result of one run."""

    run_id: str
    providers: tuple[ProviderReport, ...]
    run: Spent
    month: Spent
    latencies: tuple[float, ...]  # seconds of each synchronous request, sorted
    rows_changed: int

    @property
    def faults(self) -> list[str]:
        """The reasons why providers of labels failed."""
        return [provider.fault for provider in self.providers if provider.fault]

    @property
    def left(self) -> int:
        """The number of this labelling run's posts without a final status."""
        return sum(provider.left for provider in self.providers)

    def latency(self, share: float) -> float | None:
        """Return the ``share`` quantile of the latencies of the labelling run's requests, in seconds."""
        if not self.latencies:
            return None
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


@dataclass(frozen=True)
class ProviderEstimate:
    """Estimated requests and cost of one provider's next run."""

    version: Version
    posts: int
    with_picture: int
    already_paid: int  # posts with a final status of this version
    likely_usd: Decimal
    worst_usd: Decimal
    days: float  # within the account's limits


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of a run that no cap stops."""

    providers: tuple[ProviderEstimate, ...]
    month: Spent
    usd_per_run: Decimal
    usd_per_month: Decimal
