"""What the provider costs, next to the official packages and to other providers: ``make bench``."""
