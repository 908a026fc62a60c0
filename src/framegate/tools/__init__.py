"""Tools around the front end: evaluation, training, kernel timing and pictures; none of it runs in a user's model."""
