"""One request class for each Action, its result class beside it."""
