"""A teacher whose file is at hand: its feature maps, and how a student learns from them."""
