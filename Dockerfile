# mmwsss with its tested stack, from a checkout of the repository. Not built by CI.
#   docker build -t mmwsss .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/workspace" mmwsss \
#     train acr/vit_hybrid_voc
# torch's build from the registry brings its CUDA libraries and runs on a CPU as well;
# the host's driver must know their CUDA version (13). For a CPU alone, some GB smaller:
#   docker build -t mmwsss:cpu --build-arg DEVICE=cpu .
#   docker run --rm -v "$PWD:/workspace" mmwsss:cpu --help
ARG PYTHON=3.11
FROM python:${PYTHON}-slim

# cuda, or cpu: where pip takes torch from
ARG DEVICE=cuda
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 MPLBACKEND=Agg

# The stack before the code, which changes more often. opencv-python loads display
# libraries that this image lacks: the headless build replaces its files, its entry
# stays, because mmcv requires that name.
COPY requirements /tmp/requirements
RUN if [ "$DEVICE" = cpu ]; then \
      pip install --index-url https://download.pytorch.org/whl/cpu \
        torch==2.11.0 torchvision==0.26.0; \
    fi \
    && pip install -c /tmp/requirements/constraints.txt \
      -r /tmp/requirements/runtime.txt -r /tmp/requirements/onedl.txt \
    && pip install --no-deps "$(sed -n \
      's/^opencv-python==/opencv-python-headless==/p' /tmp/requirements/constraints.txt)"

COPY . /opt/mmwsss
RUN pip install --no-deps /opt/mmwsss

RUN useradd --create-home --uid 1000 user
USER user
WORKDIR /workspace
ENTRYPOINT ["mmwsss"]
CMD ["--help"]
