"""Says what it was given; stands for a message to somebody."""

import botkeep

print(botkeep.parameters()["text"])
