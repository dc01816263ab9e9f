"""Where weights are while they are used, and how they get there."""
