"""The model's side of the house: everything here may import torch, nothing here knows gradio,
jobs or output files.

Shapes are written once, here, and used in every docstring below this package:

    B  clips in the batch          F  frames of a clip          C  latent channels
    H W  pixels                    h w  latent cells (H / 8, W / 8 for SVD, H / 16, W / 16 for nano)

``x`` and ``latents`` are scaled latents ``[B F C h w]``; ``sigma`` is a scalar tensor ``[]`` in the
units of the EDM paper (Karras et al. 2022, arXiv 2206.00364); a *denoiser* maps ``(x, sigma)`` to the
clean estimate ``x0`` of the same shape.
"""

import os

# Threads that have done their part of a layer sleep: those that spin instead take the core from the very thread they wait
# for, wherever another program is at work too. Torch's runtime of threads reads this when it is loaded: GNU's turns a
# thousand times first, some 60 microseconds, which is what falling asleep costs; other runtimes know the policy only.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
