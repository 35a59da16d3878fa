"""One claim."""

from rescore.ledger.claims import Claim, agrees, row

CLAIMS = [Claim("centred", "Normal draws have mean zero.", "Section 1", agrees(row(dataset="normal"), 0.0, within=0.2))]
