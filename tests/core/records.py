"""Whatever may stand on a tape, for tests to draw from."""

import msgspec
from hypothesis import strategies as st

from baseload.core import records
from baseload.core.setup import Setup

INTEGERS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=False)
VALUES = {
    bool: st.booleans(),
    int: INTEGERS,
    int | None: st.none() | INTEGERS,
    float: FLOATS,
    float | None: st.none() | FLOATS,
    str: st.text(max_size=300),
    records.Time: st.floats(0, 1e10),
    Setup: st.builds(
        Setup,
        models=st.just({}),
        concurrency=st.dictionaries(st.text(max_size=9), st.integers(1, 999), max_size=3),
        down=st.lists(st.text(max_size=9), max_size=3).map(tuple),
        epochs=st.dictionaries(st.text(max_size=9), st.integers(1, 999), max_size=3),
    ),
}
RECORDS = st.one_of(
    *(
        st.builds(kind, *(VALUES[field.type] for field in msgspec.structs.fields(kind)))
        for kind in records.Line.__args__
    )
)
