"""The warehouse: DuckDB schema, short connections, merges. The only package that opens the database."""
