# Two images from one file:  docker build --target api .   docker build --target worker .
# The api never needs torch or gymnasium; the worker trains.
# Torch comes from the default index, which brings CUDA; --build-arg TORCH_INDEX=<address of an index of
# CPU builds> keeps a worker without a GPU several gigabytes smaller.

FROM python:3.11-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# openai 3 uses the operating system's trust store.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 rewardsmith \
    && mkdir /data && chown rewardsmith /data
WORKDIR /app
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY api api
COPY client client
COPY core core
COPY migrations migrations
COPY workers workers
ENV REWARDSMITH_HOME=/data

FROM base AS api
RUN pip install -c constraints.txt '.[plots]'
USER rewardsmith
EXPOSE 8700
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8700/readyz', timeout=2)"]
CMD ["rewardsmith", "serve", "--host", "0.0.0.0", "--port", "8700", "--workers", "0"]

FROM base AS worker
ARG TORCH_INDEX=""
# What the compiled kernel is built for: x86-64-v3 runs on every x86 server since about 2015 (AVX2);
# x86-64-v4 is faster where AVX-512 is; armv8-a for ARM.  Where it does not fit, torch trains alone.
ARG KERNEL_ARCH=""
# Headless rendering and physics; no display is ever opened.
ENV MUJOCO_GL=egl SDL_VIDEODRIVER=dummy OMP_NUM_THREADS=1
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libgl1 libgl1-mesa-dri g++ \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
    && case "$(uname -m)" in x86_64) arch=x86-64-v3 ;; *) arch=armv8-a ;; esac \
    && REWARDSMITH_KERNEL_ARCH="${KERNEL_ARCH:-$arch}" pip install -c constraints.txt '.[worker]' \
    && apt-get purge -y --auto-remove g++ \
    && rm -rf /var/lib/apt/lists/*
USER rewardsmith
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD test -n "$(find /tmp/alive -newermt '-30 seconds')"
CMD ["rewardsmith", "worker", "--alive-file", "/tmp/alive"]
