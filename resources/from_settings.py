"""Resources whose values come only from the settings: run config can neither replace nor extend them.

A resource holds the addresses to which keys are sent, the caps of paid jobs, and the folders that are written to. Users
who may launch a run must not be able to choose those.
"""

from collections.abc import Callable
from typing import Any, cast

import dagster as dg


def from_settings(resource: "dg.ConfigurableResource[Any]") -> dg.ResourceDefinition:
    """Return the definition of ``resource`` without a config schema; its description lists its values."""
    inner = cast("Callable[[dg.InitResourceContext], Any]", resource.get_resource_definition().resource_fn)

    def initialize(context: dg.InitResourceContext) -> Any:
        return inner(context)

    # The UI shows these two as the type of the resource.
    initialize.__module__, initialize.__name__ = type(resource).__module__, type(resource).__name__
    return dg.ResourceDefinition(initialize, config_schema={}, description=_description(resource))


def _description(resource: "dg.ConfigurableResource[Any]") -> str:
    values = (f"- `{name}`: `{getattr(resource, name)}`" for name in type(resource).model_fields)
    return "\n".join([type(resource).__doc__ or "", "", "Run config cannot change these settings:", "", *values])
