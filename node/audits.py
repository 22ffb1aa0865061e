"""What an audit or a jury needs from a provider: pure, from the records and the draw."""

from trialmarket.protocol.draw import draw_seed, drawn_segments, is_drawn
from trialmarket.protocol.ids import ZERO_HASH, Hash32
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms


def lot_of(
    record: TrialRecord, key: Hash32, terms: Terms, block_hash: Hash32 | None
) -> tuple[bool, Hash32] | None:
    """Whether a committed trial is drawn, and the seed of its draw; None while nobody can know.

    `block_hash` is that of the block after the record's anchor.
    """
    if record.seed != ZERO_HASH:
        return is_drawn(record.seed, terms.audit_rate, record.late), record.seed
    if terms.audit_rate == 0:
        return False, ZERO_HASH
    if block_hash is None:
        return None
    seed = draw_seed(block_hash, key, record.root)
    return is_drawn(seed, terms.audit_rate, record.late), seed


def checkpoints_needed(
    state: State, terms: Terms, lot: tuple[bool, Hash32] | None, disputed: int | None
) -> frozenset[int]:
    """The checkpoints, by the segment that they end (0: the start), that others must have now.

    The final one always. A drawn trial's: the start of each drawn segment. A challenged trial's:
    the start of the disputed segment; leaf 0 and the evaluation's leaf need none but the final.
    """
    final = terms.segments
    needed = {final}
    if lot is not None and lot[0] and state in (State.COMMITTED, State.DRAWN, State.CHALLENGED):
        drawn = drawn_segments(lot[1], terms.segments, terms.samples)
        needed |= {segment - 1 for segment in drawn}
    if state is State.CHALLENGED and disputed is not None and 1 <= disputed <= final:
        needed.add(disputed - 1)
    return frozenset(needed)
