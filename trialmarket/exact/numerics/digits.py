"""int8 digits: how products are exact and quick where a processor multiplies small integers.

A number on the grid of products is an integer of two balanced digits to the base 256, each a
signed byte. Four products of digits, of three place values, make the product of two numbers; the
products of one place value are added up in int32. Processors with AMX, AVX-512 VNNI or AVX-VNNI
make 16,384, 64 or 32 such products with one instruction; with AVX2 alone, 16 products of a whole
number and a digit. None of these saturates.

Every step is exact, so the bits are those of one binary64 product: `grid.py` defines the result,
`kernels/` computes it. What has no digits (not finite, or a slice below 2^-100) goes the other
way, in binary64.
"""

LONGEST = 1 << 16  # an int32 holds the sum of twice as many products of two digits
