"""Scripts that run on a rented GPU; the folder is copied there as ``code/``.

Its modules import each other by their bare names, the standard library, dagster_pipes and ML packages, and never the
rest of the project.
"""
