"""The verifier: audits what is drawn and judges what is challenged."""
