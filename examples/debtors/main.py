"""Lists what each customer owes, from the shop's database, and leaves the list as a file."""

import csv
import os
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import botkeep


def main() -> None:
    owed: dict[str, Decimal] = defaultdict(Decimal)
    for order in botkeep.source("orders"):
        owed[order["customer"]] += order["amount"]
    file = Path(os.environ["BOTKEEP_OUTPUT_DIR"], "debtors.csv")
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(["customer", "owes"])
        writer.writerows(sorted(owed.items()))
    botkeep.output("customers", len(owed))
    print(f"{len(owed)} customers owe {sum(owed.values())} in {os.environ['BOTKEEP_ENVIRONMENT']}.")


if __name__ == "__main__":
    main()
