"""Short binary codes: the layer that makes them, and what a code shall be close to."""
