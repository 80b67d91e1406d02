"""Runs Dagster's programs: as a supervised, unattended service, or for single jobs."""
