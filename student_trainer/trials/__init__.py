"""Networks trained and measured for comparison, each once; ``curve`` and ``reproduce`` are built from it."""
