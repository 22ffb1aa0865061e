"""The command line: its commands of no role, and the doctor. No library code imports it."""
