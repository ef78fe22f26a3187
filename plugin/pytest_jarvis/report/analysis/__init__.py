"""Findings computed from a report alone: `insights` collects changes, metrics, thresholds, tool choice and advice."""
