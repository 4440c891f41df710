"""Checks one invoice, and says under which number it was found to be in order."""

import botkeep

invoice = botkeep.parameters()["invoice"]
if invoice["amount"] <= 0:
    raise botkeep.BusinessError(f"{invoice['number']} has no amount")
botkeep.output("checked", invoice["number"])
print(invoice["number"], "is in order")
