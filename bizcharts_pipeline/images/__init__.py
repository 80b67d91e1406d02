"""Pictures: fetched, validated, decoded in a restricted process, stored by hash, rated, blocked and purged."""
