# Segment images in a container without a network connection and without root rights:
#
#   docker build --tag lungnb .
#   docker run --rm --network none --volume "$PWD:/work" lungnb segment films --out masks
#
# See docs/how-to-docker.md. The trained network is part of the package.

FROM python:3.12-slim AS build
COPY . /src
RUN python -m venv /opt/lungnb \
    && /opt/lungnb/bin/pip install --no-cache-dir --constraint /src/constraints.txt "/src[fast,medical]"

FROM python:3.12-slim
COPY --from=build /opt/lungnb /opt/lungnb
# A fixed user number, so that a mounted folder can be given to this user.
RUN useradd --create-home --uid 10001 lungnb
USER lungnb
ENV PATH=/opt/lungnb/bin:$PATH
# Libraries keep caches in the home folder. A user that is set with --user has no home folder.
ENV HOME=/tmp
# Results go to the folder that is mounted there.
WORKDIR /work
ENTRYPOINT ["lungnb"]
CMD ["--help"]
