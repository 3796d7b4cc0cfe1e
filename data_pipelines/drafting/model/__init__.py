"""Drafting by a model where rules leave a hole: small typed questions whose answers must quote the deposit.

Nothing that comes back is executed.  An answer is taken only if it has the asked type, stays within the choices that
were given, and quotes words that stand in the named source; all else leaves the hole open.
"""
