"""The ledger on one SQLite file: exact and durable on one machine, with nothing to start beside it."""
