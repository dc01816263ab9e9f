"""What this machine makes of it without a card: ``python -m benchmarks.cpu``."""
