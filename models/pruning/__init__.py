"""Pruning: after the tower, tokens are dropped by what their features show."""
