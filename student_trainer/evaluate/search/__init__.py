"""Exact search of databases that need not fit in memory."""
