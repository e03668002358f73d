# A server for DistilBERT on the CPU: docker build -t distilbert .
# The argument EXTRAS chooses another backend. PIP_EXTRA_INDEX_URL can name an index with smaller wheels of PyTorch.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
ARG EXTRAS=serve,pt
ARG PIP_EXTRA_INDEX_URL=
COPY constraints.txt /tmp/constraints.txt
RUN --mount=from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir --constraint /tmp/constraints.txt "$(echo /wheels/*.whl)[${EXTRAS}]"
RUN useradd --create-home --uid 1000 distilbert
USER distilbert
WORKDIR /home/distilbert
# The server listens inside of the container; `docker run --publish` decides who can reach it.
ENV DISTILBERT_HOST=0.0.0.0 DISTILBERT_PORT=8000 PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["python", "-m", "distilbert_serve.probe"]
ENTRYPOINT ["distilbert"]
CMD ["serve"]
