"""Greets whoever the parameters name; what the schedule and the webhook of this folder start."""

import botkeep

parameters = botkeep.parameters()
print(f"Hello {parameters.get('WHO', 'world')}, this is {parameters.get('WHY', 'nobody knows why')}.")
