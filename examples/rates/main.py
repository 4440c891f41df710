"""Asks a JSON API for exchange rates, with the key of its environment, and writes an amount in each currency."""

import json
import os
import urllib.request
from decimal import Decimal
from pathlib import Path

CENT = Decimal("0.01")


def main() -> None:
    parameters = json.loads(Path(os.environ["BOTKEEP_PARAMETERS_FILE"]).read_text(encoding="utf-8"))
    amount = Decimal(parameters["amount"])
    rates = fetch(f"{parameters['api']}/{os.environ['BOTKEEP_ENVIRONMENT']}/rates?base=EUR")
    converted = {currency: str((amount * rate).quantize(CENT)) for currency, rate in sorted(rates.items())}
    for currency, text in converted.items():
        print(f"{amount} EUR = {text} {currency}")
    path = Path(os.environ["BOTKEEP_OUTPUT_DIR"]) / "conversion.json"
    path.write_text(json.dumps({"EUR": str(amount), **converted}, indent=2), encoding="utf-8")
    print(f"{path.name} has {path.stat().st_size} bytes.")


def fetch(url: str) -> dict[str, Decimal]:
    request = urllib.request.Request(url, headers={"X-Api-Key": os.environ["KLANGO_ASSET_RATES_KEY"]})
    with urllib.request.urlopen(request, timeout=20) as response:
        answer = json.load(response)
    return {currency: Decimal(rate) for currency, rate in answer["rates"].items()}


if __name__ == "__main__":
    main()
