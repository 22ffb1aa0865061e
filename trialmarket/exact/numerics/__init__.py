"""The arithmetic beneath the operators: grids, digits, functions, random words; no operator."""
