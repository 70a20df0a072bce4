"""The verbs that take plain arguments; one module each, with a `main(rest)`."""
