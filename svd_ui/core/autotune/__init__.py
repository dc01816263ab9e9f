"""Choices that are measured once on a device and remembered: kernels, number formats, threads."""
