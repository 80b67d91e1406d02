"""Moving an installation between a DuckDB file and a lake, and back: ``home`` moves all of it, ``ledgers`` the
ledgers."""
