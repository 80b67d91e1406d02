"""Schema of the label ledger, and its upgrade from earlier versions, which were SQLite files.

Version 1 had the first eleven columns of ``labels``; 2 added what the labeller saw and why the post was offered; 3
added imports, so that one can be undone, and whether the image was visible; 4 added which labels of earlier imports a
file has too, so that they still count after those are undone.
"""

from bizcharts_pipeline.core.ledgers import Connection, refuse_foreign, transaction

VERSION = 4  # stored in the file as user_version
NO_IMPORT = 0  # `import_id` of labels from the labeller's page

# The same label may occur again under another import: the first one may have been undone because of wrong ratings.
_LABELS = """
CREATE TABLE {name} (
    id                  INTEGER PRIMARY KEY,
    thread_id           INTEGER NOT NULL,
    sentiment_rating    INTEGER CHECK (sentiment_rating IN (1, 2, 3)),  -- bearish, neutral, bullish
    labeler_id          TEXT    NOT NULL,
    labeled_at          TEXT    NOT NULL,  -- UTC, ISO 8601 with microseconds
    seconds             REAL,
    skipped             INTEGER NOT NULL CHECK (skipped = CASE WHEN sentiment_rating IS NULL THEN 1 ELSE 0 END),
    notes               TEXT,
    text_snapshot       TEXT,              -- what the labeller saw
    image_url_snapshot  TEXT,
    origin              TEXT    NOT NULL,
    posted_at           TEXT,              -- UTC, as labeled_at
    subject_snapshot    TEXT,
    flag                TEXT CHECK (flag IN ('irony', 'not crypto', 'unreadable', 'illegal')),
    session             TEXT,
    stratum             TEXT,
    probability         REAL,
    suggestion          TEXT,
    image_visible       INTEGER CHECK (image_visible IN (0, 1)),
    import_id           INTEGER NOT NULL DEFAULT 0,  -- of `imports`; 0: written by the labeller's page
    UNIQUE (thread_id, labeler_id, labeled_at, origin, import_id)
)
"""
_OTHER_TABLES = (
    """
CREATE TABLE IF NOT EXISTS undone (
    label_id   INTEGER PRIMARY KEY REFERENCES labels,
    undone_at  TEXT    NOT NULL
)
""",
    """
CREATE TABLE IF NOT EXISTS gold (
    thread_id  INTEGER PRIMARY KEY,
    period     TEXT    NOT NULL,  -- the labelled period that it was drawn from: the UTC month, as 2025-10
    frozen_at  TEXT    NOT NULL
)
""",
    """
CREATE TABLE IF NOT EXISTS imports (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    file         TEXT NOT NULL,  -- its name
    imported_at  TEXT,           -- UTC; NULL: before the ledger recorded imports
    scale        TEXT NOT NULL,  -- of the file's ratings
    known        INTEGER NOT NULL,  -- rows of the file that the ledger had already
    rejected     INTEGER NOT NULL   -- invalid rows of the file
)
""",
    """
CREATE TABLE IF NOT EXISTS repeats (
    label_id   INTEGER NOT NULL REFERENCES labels,  -- of an earlier import
    import_id  INTEGER NOT NULL REFERENCES imports,  -- of a later file that has the label too
    PRIMARY KEY (label_id, import_id)
)
""",
    """
CREATE TABLE IF NOT EXISTS retractions (
    import_id     INTEGER PRIMARY KEY REFERENCES imports,
    retracted_at  TEXT NOT NULL
)
""",
)
_FROZEN = {
    "labels": "labels are append-only",
    "gold": "gold is frozen",
    "imports": "imports are append-only",
    "repeats": "repeats are append-only",
    "retractions": "retractions are append-only",
}
_TRIGGER = (
    "CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {event} ON {table} BEGIN SELECT raise(ABORT, '{reason}'); END"
)
_VERBS = {"labels": "are", "gold": "is", "imports": "are", "repeats": "are", "retractions": "are"}
# Imports of earlier versions were not recorded; their labels have the file's name as origin.
_EARLIER_IMPORTS = """
INSERT INTO imports (file, imported_at, scale, known, rejected)
SELECT origin, NULL, '1-3', 0, 0 FROM labels WHERE origin <> 'labeller' GROUP BY origin ORDER BY min(id)
"""


def bring_up_to_date(connection: Connection) -> bool:
    """Create the tables, or rebuild those of an earlier version, in one transaction that blocks other processes.

    Returns:
        Whether this program may use the ledger; it may not use one written by a newer version.

    Raises:
        sqlite3.DatabaseError: it is the file of another program.
    """
    if not connection.version:
        refuse_foreign(connection, "".join([*_OTHER_TABLES, _LABELS.format(name="labels")]))
    if connection.version < VERSION:
        with transaction(connection):
            if connection.version < VERSION:  # re-read: another process may have upgraded it
                _upgrade(connection)
    return connection.version <= VERSION


def _upgrade(connection: Connection) -> None:
    for statement in _OTHER_TABLES:
        connection.define(statement)
    earlier = connection.columns("labels")
    if "import_id" in earlier:
        pass  # version 3 had the table of today
    elif earlier:
        _rebuild_labels(connection, earlier)
    else:
        connection.define(_LABELS.format(name="labels"))
    for table, reason in _FROZEN.items():
        for verb, event in (("changed", "UPDATE"), ("deleted", "DELETE")):
            name = f"{_VERBS[table]}_never_{verb}"
            connection.define(_TRIGGER.format(table=table, verb=name, event=event, reason=reason))
    connection.version = VERSION


def _rebuild_labels(connection: Connection, earlier: list[str]) -> None:
    """Copy the labels, with their ids, into a table with the current columns: SQLite cannot change a constraint."""
    connection.execute(_EARLIER_IMPORTS)
    connection.execute(_LABELS.format(name="labels_rebuilt"))
    names = ", ".join(earlier)
    connection.execute(
        f"INSERT INTO labels_rebuilt ({names}, import_id) SELECT {names}, "
        f"coalesce((SELECT imports.id FROM imports WHERE imports.file = labels.origin), {NO_IMPORT}) "
        "FROM labels ORDER BY id"
    )
    connection.execute("DROP TABLE labels")
    connection.execute("ALTER TABLE labels_rebuilt RENAME TO labels")
