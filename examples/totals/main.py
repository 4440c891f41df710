"""Loads a CSV file of orders into a SQLite database and computes each customer's total, to the cent."""

import csv
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal, InvalidOperation
from pathlib import Path

import botkeep

CENT = Decimal("0.01")
TABLES = """
CREATE TABLE IF NOT EXISTS orders (number TEXT PRIMARY KEY, customer TEXT NOT NULL, amount TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS totals (customer TEXT PRIMARY KEY, amount TEXT NOT NULL);
"""

Order = tuple[str, str, Decimal]


def main() -> None:
    parameters = botkeep.parameters()
    orders = list(read(Path(__file__).parent / parameters["orders"]))
    with closing(sqlite3.connect(parameters["database"])) as database:
        totals = load(database, orders)
    for customer, amount in sorted(totals.items()):
        print(f"{customer:<20} {amount:>12}")
    print(f"{len(orders)} orders of {len(totals)} customers are in {parameters['database']}.")


def read(path: Path) -> Iterator[Order]:
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                amount = Decimal(row["unit_price"]) * int(row["quantity"])
                yield row["number"], row["customer"], amount.quantize(CENT)
            except (InvalidOperation, ValueError, TypeError):
                # A second try would find the same line: this is for a person, not for a retry.
                raise botkeep.BusinessError(f"{path.name}, line {line}: there is no amount in {row}.") from None


def load(database: sqlite3.Connection, orders: list[Order]) -> dict[str, Decimal]:
    """Everything or nothing, and the same again when it runs twice; sums are Decimal, never float."""
    database.executescript(TABLES)
    with database:
        rows = [(number, customer, str(amount)) for number, customer, amount in orders]
        database.executemany("INSERT OR REPLACE INTO orders VALUES (?, ?, ?)", rows)
        totals: defaultdict[str, Decimal] = defaultdict(Decimal)
        for customer, amount in database.execute("SELECT customer, amount FROM orders"):
            totals[customer] += Decimal(amount)
        sums = [(customer, str(amount)) for customer, amount in totals.items()]
        database.executemany("INSERT OR REPLACE INTO totals VALUES (?, ?)", sums)
    return totals


if __name__ == "__main__":
    main()
