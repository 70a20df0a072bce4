"""A student in the form in which it is served elsewhere, held against the one that was trained."""
