"""A package that cannot be loaded, and one step that fails."""
