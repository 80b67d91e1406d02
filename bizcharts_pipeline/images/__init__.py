"""Pictures: fetched, checked, decoded under guard, stored by hash, rated, blocked and purged."""
