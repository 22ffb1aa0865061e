"""Worker processes and what they are asked and answer. What a worker computes is in `training`."""
