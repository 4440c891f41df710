"""A bot of the older family of libraries."""

import hashlib

from RPA.Robocorp.Vault import Vault
from RPA.Robocorp.WorkItems import State, WorkItems

found = Vault().get_secret("shop")
print("digest", hashlib.sha256(found["password"].encode()).hexdigest())
items = WorkItems()
items.get_input_work_item()
print("payload", items.get_work_item_payload())
items.create_output_work_item(variables={"from": "rpaframework"}, save=True)
items.release_input_work_item(State.DONE)
