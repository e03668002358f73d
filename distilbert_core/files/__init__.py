"""Files: checkpoints, the Hub, records, and writing that is whole or not at all."""
