"""Alerts: events that a person should hear of, each recorded once in a ledger and sent to each destination."""
