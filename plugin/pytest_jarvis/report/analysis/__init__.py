"""Findings computed from a report alone; `insights` collects them for the reader."""
