"""The parts of `report.html`: markup that is safe by construction, its sections, its data, its style and script."""
