"""Which regions has a cloud? Names only, so that a slip of the pen is found before `apply`."""

from typing import Final

REGIONS: Final[dict[str, frozenset[str]]] = {
    "aws": frozenset({"us-east-1", "us-east-2", "us-west-1", "us-west-2"}),
    "azure": frozenset({"eastus", "westus3"}),
    "tencent": frozenset({"ap-guangzhou", "ap-shanghai"}),
}
