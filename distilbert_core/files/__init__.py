"""Files: checkpoints, the Hub, records, and atomic writes."""
