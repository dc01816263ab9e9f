"""Training: a small Stable Video Diffusion checkpoint from photographs and rendered camera motion."""
