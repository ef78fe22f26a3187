"""What this checkout's benchmark wants of pytest: nothing beyond the plugin."""
