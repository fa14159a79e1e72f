"""What `${VARIABLE}` stands for, so that a secret is in the environment and not in the file.

`${NAME}` is the variable's value and `${NAME:-text}` falls back to the text (which may be empty)
when the variable is unset or empty, as in a shell. `$${` is a literal `${`. A variable that is set
to nothing counts as unset: an empty key that was meant to hold something would only be refused by
the provider, much later.

There is no nesting, and a variable's value is not looked at for further variables.
"""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(
    r"""
    (?P<literal> \$\$\{ )
  | \$\{ (?P<name> [A-Za-z_][A-Za-z0-9_]* ) (?: :- (?P<default> [^{}]* ) )? \}
  | (?P<malformed> \$\{ )
    """,
    re.VERBOSE,
)


def expand(text: str, env: Mapping[str, str]) -> tuple[str, list[tuple[str, str]]]:
    """Return `text` with its variables filled in, and what is wrong as (what, hint) pairs.

    Neither the text nor any variable's value is repeated in what is wrong, only names.
    """
    wrong: list[tuple[str, str]] = []

    def stand_in(match: re.Match[str]) -> str:
        name: str | None = match["name"]
        if match["literal"]:
            return "${"
        if name is None:
            wrong.append(("`${` does not begin a variable", "write `${NAME}`, or `$${` for `${`"))
            return ""
        value = env.get(name) or match["default"]
        if value is None:
            hint = f"export {name}, remove the line, or give a default: `${{{name}:-default}}`"
            wrong.append((f"the variable {name} is not set", hint))
            return ""
        return value

    return _REFERENCE.sub(stand_in, text), wrong
