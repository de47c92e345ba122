"""Budgets, holds, charges and the ledger, with what the service signs."""
