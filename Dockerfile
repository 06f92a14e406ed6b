# The service, one image for every role: `docker build .`; the simulator of the demo: `docker build --target simulator .`

FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY dispatcher ./dispatcher
COPY workers ./workers
RUN python -m venv /opt/pixverse-dispatcher \
 && /opt/pixverse-dispatcher/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.12-slim AS base
ENV PATH=/opt/pixverse-dispatcher/bin:/usr/local/bin:/usr/bin:/bin
ENV PYTHONUNBUFFERED=1
ENV PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/pixverse-dispatcher /opt/pixverse-dispatcher
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent dispatcher
WORKDIR /tmp
USER 10001:10001

# A program of the checkout, not of the wheel: it plays the upstream, and nothing that it judges may lean on it.
FROM base AS simulator
COPY simulator /opt/simulator/simulator
WORKDIR /opt/simulator
EXPOSE 9080
ENTRYPOINT ["python", "-m", "simulator"]
CMD ["--host", "0.0.0.0"]

FROM base AS service
EXPOSE 8000
ENTRYPOINT ["dispatcher"]
CMD ["--help"]
