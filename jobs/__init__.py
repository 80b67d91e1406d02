"""Jobs: selections of assets that run together."""
