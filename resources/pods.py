"""Rented GPUs as a Dagster resource. Keys are read from the environment when used."""

import os
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.core.ledgers import is_known
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.installation import check_home

if TYPE_CHECKING:
    from bizcharts_pipeline.pods.protocol import Finished, Job, Listener
    from bizcharts_pipeline.pods.reaper import ReapReport

KEY = "RUNPOD_API_KEY"


class RunPodResource(dg.ConfigurableResource["RunPodResource"]):
    """Runs one job on a rented pod, or on a host of your own, and terminates the pod when the job ends.

    If this process is killed, or this machine cannot store the result, the pod runs on, and costs money, until it is
    reaped or its lease ends. docs/runpod.md explains the account, the prices, the guards and troubleshooting. The key
    is `RUNPOD_API_KEY` in the environment or in `.env`.
    """

    home: str = Field(description="The installation's home; contains the ledger of pods and their SSH keys.")
    provider: str = Field(description=Settings.model_fields["pod_provider"].description)
    values: dict[str, Any] = Field(description="The values of `[pods]`.")

    @classmethod
    def from_settings(cls, settings: Settings) -> "RunPodResource":
        """Return the resource with the values of ``[pods]``."""
        return cls(
            home=str(settings.home_path), provider=settings.pod_provider, values=settings.pods.model_dump(mode="json")
        )

    def settings(self) -> Settings:
        """Return the settings used for pods, validated; the others have their defaults."""
        return Settings.model_validate({"home": self.home, "pod_provider": self.provider, "pods": self.values})

    def run(
        self, job: "Job", listener: "Listener", into: Path, *, run_id: str, checkpoint_minutes: float
    ) -> "Finished":
        """Run ``job`` and put its result into the folder ``into``. A running job is re-attached to, and a fetched
        result that was not used is returned.

        Raises:
            PodError: there is no result; ``retry`` is whether a retry may succeed.
        """
        from bizcharts_pipeline.pods.ledger import PodLedger
        from bizcharts_pipeline.pods.life import run_job
        from bizcharts_pipeline.pods.protocol import Finished
        from bizcharts_pipeline.pods.providers import open_provider

        settings, ledger = self.settings(), PodLedger(self.ledger_path())
        if into.is_dir() and ledger.open_job(job.key, self.provider) is None:
            return Finished(into, pod_id="", gpu=None, usd=Decimal(0), seconds=0.0, pods=0, reattached=True)
        return run_job(
            job,
            open_provider(settings),
            ledger,
            settings.pods,
            listener,
            into,
            self.clock(),
            time.sleep,
            run_id=run_id,
            checkpoint_minutes=checkpoint_minutes,
        )

    def ledger_path(self) -> Path:
        """Return the path of the ledger, which may not exist yet."""
        from bizcharts_pipeline.pods.ledger import LEDGER

        return Path(self.home) / LEDGER

    def clock(self) -> Callable[[], datetime]:
        """Return the clock of pods: naive UTC, independent of ``BIZCHARTS_NOW`` and of changes of the wall clock."""
        from bizcharts_pipeline.pods.steady_clock import open_clock

        return open_clock(self.ledger_path().parent)

    def reap(self, is_running: Callable[[str], bool], seconds: float) -> "ReapReport | None":
        """Terminate this installation's pods without a run, at every provider used; ``None`` if there can be none. Work
        beyond ``seconds`` is left for the next call.

        Raises:
            PodError: the ledger cannot be read.
            DatabaseLost: the home was in use before, but is empty, so the ledger is lost too.
        """
        check_home(Path(self.home))
        until = time.monotonic() + seconds
        pods = self._reap_pods(is_running, seconds)
        endpoints = self._reap_endpoints(until - time.monotonic())
        return pods + endpoints if pods is not None and endpoints is not None else pods or endpoints

    def _reap_endpoints(self, seconds: float) -> "ReapReport | None":
        """Delete this installation's endpoints that nothing asked for; a failure does not affect the pods."""
        from bizcharts_pipeline.endpoints.ledger import LEDGER as ENDPOINTS

        if not is_known(Path(self.home) / ENDPOINTS):
            return None  # before the imports of a client that most installations never need
        from bizcharts_pipeline.endpoints.life import reap
        from bizcharts_pipeline.http.deadline import cut_off_after
        from bizcharts_pipeline.pods.errors import PodError
        from bizcharts_pipeline.pods.reaper import ReapReport

        try:
            with cut_off_after(seconds):
                return reap(self.settings())
        except PodError as error:
            return ReapReport((), (), (str(error),))

    def _reap_pods(self, is_running: Callable[[str], bool], seconds: float) -> "ReapReport | None":
        if not is_known(self.ledger_path()) and not (self.provider == "runpod" and os.environ.get(KEY)):
            return None
        from bizcharts_pipeline.pods.every_provider import reap_everywhere
        from bizcharts_pipeline.pods.ledger import PodLedger

        return reap_everywhere(self.settings(), PodLedger(self.ledger_path()), self.clock(), is_running, seconds)
