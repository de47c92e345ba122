"""What the parts cost, each beside its baseline. ``python -m benchmarks`` runs them all."""
