# Two images, each with everything but the downloaded weights:
#
#   docker build --target cpu -t svd-ui:cpu .
#   docker run --init -p 127.0.0.1:7860:7860 -v svd-ui:/data svd-ui:cpu
#
#   docker build --target cuda -t svd-ui:cuda .          (needs NVIDIA's container toolkit, driver 580 and a card from Turing on)
#   docker run --init --gpus all -p 127.0.0.1:7860:7860 -v svd-ui:/data svd-ui:cuda
#
# Jobs, clips and downloaded weights live in the volume. Other commands follow the name: `docker run ... svd-ui:cpu doctor`.
# Inside a container the app cannot see who reaches it and takes the page for public: visitors see their own jobs alone,
# and the Train tab and downloads from the page ask for `-e SVD_UI_AUTH=user:password` (weights also come with
# `docker run ... svd-ui:cpu models download svd-xt`). A port published to a network (-p 7860:7860) asks for it all the more.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS packages
WORKDIR /app
ENV PIP_NO_CACHE_DIR=1
COPY scripts/bootstrap.sh scripts/install scripts/
COPY requirements.txt ./

# Packages of extras, such as "psycopg[binary] ray[serve]": deploy/compose.yaml names those it needs.
ARG PACKAGES=""

FROM packages AS cpu-packages
RUN SVD_UI_TORCH=cpu sh scripts/install
RUN [ -z "$PACKAGES" ] || .venv/bin/python -m pip install $PACKAGES

# PyPI's torch brings CUDA with it; the driver comes from the host.
FROM packages AS cuda-packages
RUN SVD_UI_TORCH=cuda sh scripts/install
RUN [ -z "$PACKAGES" ] || .venv/bin/python -m pip install $PACKAGES

FROM python:${PYTHON}-slim AS runtime
WORKDIR /app
# The home folder is in the volume too: caches of the hub and of compiled kernels are kept there. A bind mount for /data must
# be writable for user 1000.
RUN useradd --uid 1000 --home-dir /data --create-home --skel /dev/null svd
# PYTHONPATH: in a cluster Ray starts the app's processes, and not in this folder.
ENV HOME=/data \
    PYTHONPATH=/app \
    SVD_UI_DATA_DIR=/data \
    SVD_UI_HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 7860
HEALTHCHECK --start-period=60s --interval=30s --timeout=10s \
    CMD ["/app/.venv/bin/python", "-c", "import os, ssl, urllib.request as u; https = 's' if os.environ.get('SVD_UI_SSL_CERTFILE') else ''; u.build_opener(u.ProxyHandler({}), u.HTTPSHandler(context=ssl._create_unverified_context())).open('http' + https + '://localhost:' + os.environ.get('SVD_UI_PORT', '7860'), timeout=8)"]
# The app stops on Ctrl-C's signal, as it does in a terminal.
STOPSIGNAL SIGINT
ENTRYPOINT ["/app/.venv/bin/python", "-m", "svd_ui"]
CMD ["serve"]

# What the app reads when it runs, in one place for both images.
FROM scratch AS files
COPY app.py LICENSE NOTICE README.md CHANGELOG.md /
COPY assets /assets
COPY presets /presets
COPY svd_ui /svd_ui

FROM runtime AS cuda
# Triton compiles a small launcher with the C compiler when it first meets the GPU.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY --from=cuda-packages /app/.venv /app/.venv
COPY --from=files / /app/
USER svd

# Last, so that a build without --target makes the small one.
FROM runtime AS cpu
COPY --from=cpu-packages /app/.venv /app/.venv
COPY --from=files / /app/
USER svd
