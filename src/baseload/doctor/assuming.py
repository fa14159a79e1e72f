"""What the doctor could not know, and took for granted: it stands in the object, as an annotation.

A corrected file that is applied without being read should at least say later on what to look at.
"""

from typing import Any, Final

from baseload.doctor.edits import Edit, Put
from baseload.doctor.manifests import Pointer, text

NOTE: Final = "assumed.baseload.dev"
"""Domain of the annotations; each is named for what was assumed."""
PORT: Final = 8000
"""Where vLLM and SGLang listen (SGLang when told so), and most that speak OpenAI's API."""


def assume(body: dict[str, Any], what: str, why: str) -> tuple[Edit, ...]:
    """Give the edit that notes an assumption, unless it is noted."""
    at: Pointer = ("metadata", "annotations", f"{NOTE}/{what}")
    return () if text(body, *at) == why else (Put(at=at, value=why),)
