"""A labelling run over all providers."""

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from bizcharts_pipeline.autolabel import cost
from bizcharts_pipeline.autolabel.batches import BatchDispatcher, BatchReport
from bizcharts_pipeline.autolabel.concurrency_limit import Closing
from bizcharts_pipeline.autolabel.cost import Terms
from bizcharts_pipeline.autolabel.dispatcher import Dispatcher
from bizcharts_pipeline.autolabel.errors import AutoLabelError, BatchError
from bizcharts_pipeline.autolabel.estimate import configured_models
from bizcharts_pipeline.autolabel.keys import Model, Run, Version
from bizcharts_pipeline.autolabel.ledger import LEDGER, AutoLabelLedger
from bizcharts_pipeline.autolabel.materialise import STATUS, materialise
from bizcharts_pipeline.autolabel.prompt import load_prompt
from bizcharts_pipeline.autolabel.protocol import BatchProvider, Prompt, Provider
from bizcharts_pipeline.autolabel.questions import inquiries
from bizcharts_pipeline.autolabel.report import ProviderReport, Report
from bizcharts_pipeline.autolabel.results import states_of_posts
from bizcharts_pipeline.autolabel.selection import FlaggedPosts, waiting_posts
from bizcharts_pipeline.core.attempts import Attempts
from bizcharts_pipeline.core.progress import Track, silently
from bizcharts_pipeline.settings import ImageSettings, Settings
from bizcharts_pipeline.warehouse.database import Database

ROUNDS = 2  # per run: questions postponed in the first round are sent again in the second

Providers = Mapping[str, Provider | BatchProvider]


@dataclass(frozen=True)
class Labelling:
    """Dependencies and configuration of labelling runs; ``clock`` returns naive UTC times."""

    database: Database
    home: Path
    settings: Settings
    providers: Providers  # by name, in the order of the settings: the first labels every post
    clock: Callable[[], datetime]
    retry_batches: bool = False  # submit batches even if the last ones failed for the same reason

    def label_posts(self, *, ordering: bool = True, track: Track = silently) -> Report:
        """Collect the answers of batches, then label at most ``per_run`` posts per provider.

        Without ``ordering``, no paid request is sent.

        Even after an error, all answers are in the ledger, and in ``auto_labels`` if the database can be used. The next
        call continues from there.

        Raises:
            AutoLabelError: the ledger cannot be used, or the prompt was changed.
            DatabaseError: the database cannot be used.
        """
        now = self.clock()
        run = Run(f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}", now)
        prompt = load_prompt(self.settings.auto_labels.prompt)
        with AutoLabelLedger(self.home / LEDGER) as ledger, ledger.working(run):
            ledger.use_prompt(prompt, now)
            reports, changed = [], 0
            try:
                for provider in self.providers.values():
                    changed += materialise(ledger, self.database)  # the selection of waiting posts reads this table
                    if ordering or provider.endpoint == "batch":
                        reports.append(self._with(provider, prompt, ledger, run, track, ordering=ordering))
            finally:
                changed += materialise(ledger, self.database)
            return Report(
                run.run_id,
                tuple(self._counted(report, ledger, posts) for report, posts in reports),
                ledger.spent(run_id=run.run_id),
                ledger.spent(month=run.at(self.clock()).month),
                tuple(ledger.latencies(run.run_id)),
                changed,
            )

    @property
    def _images(self) -> ImageSettings | None:
        return self.settings.images if self.settings.auto_labels.images else None

    def _with(
        self,
        provider: Provider | BatchProvider,
        prompt: Prompt,
        ledger: AutoLabelLedger,
        run: Run,
        track: Track,
        *,
        ordering: bool,
    ) -> tuple[ProviderReport, list[int]]:
        """Run one provider; return its report and the posts it had to label."""
        version = Version.of(provider, prompt)
        try:
            terms = cost.terms(self.settings, provider.name, provider.endpoint, self.clock().date())
        except AutoLabelError as error:
            return ProviderReport(version, 0, {}, Closing("stop", str(error)), None), []
        if provider.endpoint == "batch":
            batches = cast(BatchProvider, provider)
            return self._in_batches(batches, prompt, ledger, run, terms, track, ordering=ordering)
        threads = self._threads(version, prompt, ledger)
        dispatcher = Dispatcher(
            cast(Provider, provider),
            prompt,
            ledger,
            run,
            terms,
            cost.caps(self.settings.auto_labels),
            most_at_once=self.settings.auto_labels.most_at_once,
            clock=self.clock,
        )
        again: Sequence[int] = threads
        flagged = FlaggedPosts(self.home)
        for _ in range(ROUNDS):
            chunks = inquiries(self.database, self.home, version, again, self._images, flagged)
            for _thread in track(dispatcher.ask(chunks), f"Labels by {provider.name} {provider.model}", len(again)):
                pass
            again = dispatcher.finish_round()
            if not again or dispatcher.gate.closing is not None:
                break
        dispatcher.finish_run()
        return ProviderReport(version, len(threads), {}, dispatcher.gate.closing, None), threads

    def _in_batches(
        self,
        provider: BatchProvider,
        prompt: Prompt,
        ledger: AutoLabelLedger,
        run: Run,
        terms: Terms,
        track: Track,
        *,
        ordering: bool,
    ) -> tuple[ProviderReport, list[int]]:
        dispatcher = BatchDispatcher(
            provider,
            prompt,
            ledger,
            run,
            terms,
            cost.caps(self.settings.auto_labels),
            self.clock,
            flagged := FlaggedPosts(self.home),
            Attempts.of_home(self.home),
        )
        report, threads = BatchReport(), list[int]()
        try:
            dispatcher.collect_batches(report)
            if ordering:
                materialise(ledger, self.database)
                threads = self._threads(dispatcher.version, prompt, ledger)
                chunks = inquiries(self.database, self.home, dispatcher.version, threads, self._images, flagged)
                tracked = track(chunks, f"Batches for {provider.name} {provider.model}")
                dispatcher.submit_batches(tracked, report, again=self.retry_batches)
        except BatchError as error:
            report.closing = Closing("stop", str(error))
        return ProviderReport(dispatcher.version, len(threads), {}, report.closing, report), threads

    def _threads(self, version: Version, prompt: Prompt, ledger: AutoLabelLedger) -> list[int]:
        return waiting_posts(self.database, self.home, self.settings, ledger, version, self._first(prompt))

    def _first(self, prompt: Prompt) -> Version:
        """Return the version that labels every post: the first configured provider's, even if it has no key now."""
        model: Model = configured_models(self.settings)[0]
        return Version.of(self.providers.get(model.name, model), prompt)

    def _counted(self, report: ProviderReport, ledger: AutoLabelLedger, posts: Collection[int]) -> ProviderReport:
        """Return the report with its posts counted by status."""
        states = states_of_posts(ledger, report.version)
        by_status = Counter(STATUS[states.get(thread_id, "pending")] for thread_id in posts)
        return ProviderReport(report.version, report.posts, dict(by_status), report.closing, report.batches)
