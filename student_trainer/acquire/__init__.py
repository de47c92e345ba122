"""Spending the budget: plan, fetch, the transfer set, and its audit."""
