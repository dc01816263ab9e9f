"""What a CUDA card makes of it: ``python -m benchmarks.gpu``."""
