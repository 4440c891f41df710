"""Collects a month's invoices, puts each into the tray `invoices`, and says how many there are and what they sum to."""

import botkeep

month = botkeep.parameters()["month"]
amounts = (120, 980, 75)
invoices = [{"number": f"{month}-{place}", "amount": amount} for place, amount in enumerate(amounts, 1)]
for invoice in invoices:
    try:
        botkeep.work_items.add("invoices", invoice, reference=str(invoice["number"]))
    except botkeep.Refused:
        print(invoice["number"], "lies in the tray already")
botkeep.output("invoices", invoices)
botkeep.output("total", sum(amounts))
print(len(invoices), "invoices of", month)
