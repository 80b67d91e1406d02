"""Command ``bizcharts label``: serves the labelling page on this machine only, until Ctrl-C."""

from collections.abc import Callable
from contextlib import closing

from bizcharts_pipeline.core.listening import listening_socket, run_server
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.labels.offers import OfferFilters
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.web.app import labeller_app
from bizcharts_pipeline.web.auth import Access
from bizcharts_pipeline.web.instance_lock import labeller_lock
from bizcharts_pipeline.web.reader import Reader
from bizcharts_pipeline.web.session import LabelSession

HOST = "127.0.0.1"
LEDGER_SECONDS = 3  # maximum wait for another process that writes labels, before a label is reported as not saved


def serve_labeller(
    settings: Settings, filters: OfferFilters, port: int | None = None, *, say: Callable[[str], object] = print
) -> None:
    """Serve the labelling page until interrupted; ``port`` is by default the setting, 0 for any free one.

    ``say`` receives lines for the terminal: first the address to open, which contains the access token, and at the end
    any unfinished work.

    Raises:
        AlreadyLabelling: another process serves the same labeller.
        PortTaken: another program uses the port.
        BizchartsError: another subclass if ledger or database cannot be used.
    """
    database = Database.existing(settings)
    ledger = LabelLedger(settings.home_path / LEDGER, LEDGER_SECONDS)
    with (
        labeller_lock(ledger.path.parent, filters.labeller) as tell_port,
        closing(listening_socket(HOST, settings.labelling.port if port is None else port)) as listener,
    ):
        access = Access(listener.getsockname()[1])
        tell_port(access.port)
        session = LabelSession(settings, filters, ledger)
        reader = Reader(session, database)
        reader.start()
        try:
            say(
                f"{access.address}\n\nOpen this address, including its token, in a browser on this machine.\n"
                f"Labelling as {filters.labeller}, session {filters.session}. Ctrl-C stops the server."
            )
            with ledger.kept_open():
                run_server(labeller_app(session, access), listener)
        finally:
            reader.stop()
    if waiting := session.to_delete():
        threads = ", ".join(map(str, waiting))
        say(
            f"Flagged as illegal and not deleted yet, because the database was busy: {threads}. "
            "`bizcharts block` deletes them."
        )
