"""The published numbers as files: tables, data dictionary, badge and report."""
