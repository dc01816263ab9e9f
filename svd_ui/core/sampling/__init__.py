"""The denoising loop: samplers, noise levels, denoisers and what a control method works with."""
