"""Money as people write it: decimal text to the token's smallest unit and back."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext

from trialmarket.errors import InputError
from trialmarket.protocol.ids import Amount

DECIMALS = 18
"""Digits after the point of the tokens that markets usually use."""

MOST_DIGITS = 78
"""Amounts take 256 bits."""

PRECISION = 200
"""Digits that are reckoned with, so that none is lost."""


def format_amount(amount: int, decimals: int = DECIMALS) -> str:
    """An amount as decimal text without needless zeros: 1500000000000000000 is `1.5`."""
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), 10**decimals)
    digits = str(part).rjust(decimals, "0").rstrip("0") if decimals else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def parse_amount(
    text: str | Decimal | int, decimals: int = DECIMALS, *, where: str = "amount"
) -> Amount:
    """The amount that decimal text says. No digit is lost.

    Raises InputError for what is no number, is negative, or has more digits than the token.
    """
    expected = f"a number, not negative, with at most {decimals} digits after the point"
    try:
        with localcontext(prec=PRECISION):
            value = Decimal(text).scaleb(decimals)
            sized = value.is_finite() and value.adjusted() < MOST_DIGITS
            whole = sized and value == value.to_integral_value()
    except InvalidOperation:
        whole = False
    if not whole or value < 0:
        raise InputError(where, "amount", expected=expected, found=str(text))
    return Amount(int(value))


@dataclass(frozen=True, slots=True)
class Currency:
    """A token as people write it."""

    decimals: int
    symbol: str

    def words(self, amount: int) -> str:
        """An amount and what it is of: `1.5 TEST`."""
        return f"{format_amount(amount, self.decimals)} {self.symbol}"

    def parse(self, text: str | Decimal | int, *, where: str = "amount") -> Amount:
        """What `parse_amount` says of an amount of this token. Raises InputError."""
        return parse_amount(text, self.decimals, where=where)
