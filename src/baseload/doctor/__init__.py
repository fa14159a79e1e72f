"""The doctor: what is wrong with a Kubernetes manifest that somebody already has, and its cure.

Text becomes objects with the place of every value (`reading`), rules look at the objects one by one
and beside each other (`table`), and each rule that knows a cure gives it as edits (`edits`). Curing
is making those edits and looking again, until nothing is left that a rule can mend.
"""

from baseload.doctor.examining import examine, mend

__all__ = ["examine", "mend"]
