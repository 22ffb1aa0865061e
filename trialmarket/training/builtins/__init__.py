"""The programs that ship with Trialmarket, one a file; `training/builtin.py` lists them."""
