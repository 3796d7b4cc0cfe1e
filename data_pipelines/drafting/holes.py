"""What rules cannot tell, in the words that stand under `unresolved`; a model may be asked about these."""

from __future__ import annotations

NO_ORDER = "nothing shows whether its choices have an order"
ATTENTION = "looks like an attention check"
NOT_FINISHED = "not finished"
UNEXPLAINED = "are explained in no file"
OTHER_LABELS = "saw other labels; which answers belong together is not told"
SHARE_A_NAME = "have the same export tag, and neither words nor cells tell which of them the column holds"
