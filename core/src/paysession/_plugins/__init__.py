"""Finding plugins, checking them, building them from settings, and calling one provider."""
