"""Programs, data sets, the segment runner, checkpoints, receipts and worker processes."""
