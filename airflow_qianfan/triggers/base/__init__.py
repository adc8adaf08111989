"""What all triggers share."""
