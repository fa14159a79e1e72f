"""The API is held to its own description, by a tool that knows nothing else of it.

Schemathesis reads `/openapi.json` and makes up requests, sound and unsound ones, for each
operation; every answer is checked against what was promised. The port is served over doubles.
"""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import ChecksConfig

from baseload.web import guard
from baseload.web.openapi import describe
from baseload.web.routes import ROUTES
from tests.web.doubles import TOKEN, DoublePlane, Port, served

EXAMPLES = 50


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    """One port for all operations; what one makes another may find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "WRONG_TOKENS_MAX", 1_000_000)  # The tool tries many.
        with served(tmp_path_factory.mktemp("described")) as port:
            port.keys.create("made")
            yield port


CHECKS = {
    # 422 is for what no schema can say: the 31st of February.
    "positive_data_acceptance": {"expected-statuses": ["2xx", 401, 403, 404, 409, 422]},
    "missing_required_header": {"expected-statuses": [403]},
}

schema = schemathesis.openapi.from_dict(describe(ROUTES, DoublePlane.shapes))
schema.config.checks = ChecksConfig.from_dict(CHECKS)


@schema.auth()
class _Shown:
    """Shows the token, but where the tool tries without."""

    def get(self, _case: schemathesis.Case, _context: object) -> str:
        return TOKEN

    def set(self, case: schemathesis.Case, token: str, _context: object) -> None:
        case.headers["Authorization"] = f"Bearer {token}"


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_answers_are_as_described(case: schemathesis.Case, port: Port):
    """No request that fits the description, or nearly does, is answered in another way."""
    case.call_and_validate(base_url=str(port.client.base_url), timeout=10)
