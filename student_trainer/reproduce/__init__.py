"""Tables of an experiment: cells trained, measured and never run twice; one page that says what held."""
