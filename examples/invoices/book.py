"""Books every invoice that waits in the tray `invoices`, one after the other."""

import botkeep

booked = 0
for item in botkeep.work_items.each("invoices"):
    with item:
        print("booked", item.data["number"])
        booked += 1
botkeep.output("booked", booked)
