"""From image bytes to descriptors: the teacher, its batcher, its cache and the output policy."""
