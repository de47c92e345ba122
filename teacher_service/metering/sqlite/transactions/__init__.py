"""The SQLite ledger's transactions, one file per operation, as ``lua/`` holds them for Redis."""
