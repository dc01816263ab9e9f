"""Stable Video Diffusion on your own machine: page, command line and HTTP API over one core."""

__version__ = "0.1.0"
