"""I/O manager of all jobs. Assets keep their data in the warehouse and in files of the home, and hand no values to each
other. Dagster's default would pickle values into a folder that run config may choose."""

import dagster as dg

no_values = dg.IOManagerDefinition(
    resource_fn=lambda _: dg.InMemoryIOManager(),  # type: ignore[no-untyped-call]
    config_schema={},
    description="Assets return no values. Run config cannot change it.",
)
