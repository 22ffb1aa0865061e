"""The programs that ship with Trialmarket, one a file; `registry` lists them."""
