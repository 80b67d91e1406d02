"""Schedules and sensors of the jobs."""
