"""What the paper says."""

from rescore.ledger.claims import Claim, row, smaller

WHOLE, HALF = (row(variant=f"share={share}", metric="solver_rmse", nfe=40) for share in ("1", "0.5"))
CLAIMS = [Claim("whole-score-better", "The whole score is better than half of it.", "Table 1", smaller(WHOLE, HALF))]
