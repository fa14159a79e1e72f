"""Whatever may stand on a tape, for tests to draw from."""

import msgspec
from hypothesis import strategies as st

from baseload.core import tape

INTEGERS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=False)
VALUES = {
    bool: st.booleans(),
    int: INTEGERS,
    int | None: st.none() | INTEGERS,
    float: FLOATS,
    float | None: st.none() | FLOATS,
    str: st.text(max_size=300),
    tape.Time: st.floats(0, 1e10),
}
RECORDS = st.one_of(
    *(
        st.builds(kind, *(VALUES[field.type] for field in msgspec.structs.fields(kind)))
        for kind in tape.Line.__args__
    )
)
