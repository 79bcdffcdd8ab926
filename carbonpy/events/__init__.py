"""Events: things that happened at a moment, with tags, kept in SQLite (graphite-web's events API)."""
