"""What a reader is shown that is computed from a report alone: `insights` puts it together."""
