"""Which images to spend the budget on: one module a strategy, and the descriptors that they look at."""
