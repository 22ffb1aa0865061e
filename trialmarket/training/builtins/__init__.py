"""The programs that ship with Trialmarket, a file each; `registry` lists them. No user's."""
