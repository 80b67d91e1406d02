"""``bizcharts label``: the labeller's page, on this machine alone, until Ctrl-C."""

from collections.abc import Callable
from contextlib import closing, suppress

from bizcharts_pipeline.core.listening import listening_socket
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
SHUTDOWN_SECONDS = 2
LEDGER_SECONDS = 3  # a key waits so long for another process that writes labels, and is then said not to be saved


def serve_labeller(
    settings: Settings, filters: OfferFilters, port: int | None = None, *, say: Callable[[str], object] = print
) -> None:
    """Serve the labeller until it is interrupted; ``port`` is the setting's unless given, 0 any that is free.

    ``say`` gets the lines for the terminal: first the address to open, with the token that admits to it, and at the end
    what is still to do.

    Raises:
        AlreadyLabelling: another process serves the same labeller.
        PortTaken: somebody listens there; other :class:`BizchartsError` where ledger or database cannot be used.
    """
    import uvicorn

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
        config = uvicorn.Config(
            labeller_app(session, access),
            log_level="warning",
            access_log=False,  # the token is in an address
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        reader.start()
        try:
            say(
                f"{access.address}\n\nOpen this address, token and all, in a browser on this machine.\n"
                f"Labelling as {filters.labeller}, session {filters.session}. Ctrl-C ends it."
            )
            with ledger.kept_open(), suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            reader.stop()
    if waiting := session.to_delete():
        threads = ", ".join(map(str, waiting))
        say(f"Flagged as illegal and not deleted yet, as the database was busy: {threads}. `bizcharts block` does it.")
