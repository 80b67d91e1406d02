"""Foundations that every package uses and that import none of them: time, errors, files, locks, SQLite, secrets."""
