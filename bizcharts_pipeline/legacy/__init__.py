"""Imports the database of the project's first implementation."""
