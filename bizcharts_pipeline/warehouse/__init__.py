"""The warehouse: the schema, short connections, MERGE. The only room that opens the database."""
