"""Scripts that measure what the documentation claims; README.md is the index."""
