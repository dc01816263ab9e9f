"""How this machine is reached, and how it reaches others."""
