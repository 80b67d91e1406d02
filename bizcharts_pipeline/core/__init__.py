"""What every room needs and that knows none of them: time, errors, files, locks, SQLite, secrets."""
