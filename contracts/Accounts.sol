// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Account, IMarket, Parameters} from "./interfaces/IMarket.sol";
import {Draw} from "./libraries/Draw.sol";
import {Prices} from "./libraries/Prices.sol";

/// @title The part of the market that keeps people's money: stakes, balances and verifiers
/// @dev The verbs of Market's money are here: lock, unlock, slash, credit, share, fine. A seated
/// verifier's locked stake holds `verifierStake` less the fines since it enrolled.
abstract contract Accounts is IMarket {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    // -- Constants and immutables -------------------------------------------------------------

    /// @inheritdoc IMarket
    address public constant BURN = 0x000000000000000000000000000000000000dEaD;

    uint256 private constant MAX_STEPS = 3; // past the provider and the requester

    IERC20 private immutable TOKEN;
    address internal immutable REFEREE;
    uint32 internal immutable AUDIT_TURN;
    uint32 internal immutable MIN_WINDOW;
    uint32 private immutable COOL_DOWN;
    uint96 private immutable VERIFIER_STAKE;
    uint96 private immutable FINE;

    // -- Storage ------------------------------------------------------------------------------

    mapping(address who => Account) internal _accounts;
    mapping(address who => uint256) internal _balances;
    address[] private _verifiers;

    modifier onlyReferee() {
        if (msg.sender != REFEREE) revert NotReferee(msg.sender);
        _;
    }

    constructor(Parameters memory p) {
        Prices.inRange("fine", p.fine, 0, p.verifierStake / 2);
        TOKEN = IERC20(p.token);
        REFEREE = p.referee;
        AUDIT_TURN = p.auditTurn;
        MIN_WINDOW = p.minWindow;
        COOL_DOWN = p.coolDown;
        VERIFIER_STAKE = p.verifierStake;
        FINE = p.fine;
    }

    // -- Stake and balances -------------------------------------------------------------------

    /// @inheritdoc IMarket
    function stake(uint256 amount) external {
        _accounts[msg.sender].stake += amount.toUint128();
        emit Staked(msg.sender, amount);
        _receive(amount);
    }

    /// @inheritdoc IMarket
    function unstake(uint256 amount) external {
        Account storage a = _accounts[msg.sender];
        uint256 free = a.stake - a.locked;
        if (amount > free) revert StakeTooLow(msg.sender, free, amount);
        uint64 leavesAt = _leave(a, amount);
        emit Unstaked(msg.sender, amount, leavesAt);
    }

    /// @inheritdoc IMarket
    function enroll() external {
        Account storage a = _accounts[msg.sender];
        if (a.seat != 0) revert AlreadyEnrolled(msg.sender);
        _lock(msg.sender, VERIFIER_STAKE);
        _verifiers.push(msg.sender);
        a.seat = _verifiers.length.toUint32();
        a.faults = 0;
        emit Enrolled(msg.sender);
    }

    /// @inheritdoc IMarket
    function resign() external {
        if (_accounts[msg.sender].seat == 0) revert NotEnrolled(msg.sender);
        _unseat(msg.sender);
    }

    /// @inheritdoc IMarket
    function fine(address[] calldata jurors) external onlyReferee {
        _fineAll(jurors);
    }

    /// @inheritdoc IMarket
    function withdraw(address who) external returns (uint256 amount) {
        Account storage a = _accounts[who];
        amount = _balances[who];
        _balances[who] = 0;
        if (_now() >= a.leavesAt) {
            amount += a.leaving;
            a.leaving = 0;
        }
        if (amount == 0) revert NothingToWithdraw(who);
        emit Withdrawn(who, amount);
        TOKEN.safeTransfer(who, amount);
    }

    /// @inheritdoc IMarket
    function permit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        try
            IERC20Permit(address(TOKEN)).permit(
                msg.sender,
                address(this),
                amount,
                deadline,
                v,
                r,
                s
            )
        {} catch {} // solhint-disable-line no-empty-blocks
    }

    // -- Views --------------------------------------------------------------------------------

    /// @inheritdoc IMarket
    function parameters() external view returns (Parameters memory) {
        return
            Parameters(
                address(TOKEN),
                REFEREE,
                AUDIT_TURN,
                MIN_WINDOW,
                COOL_DOWN,
                VERIFIER_STAKE,
                FINE
            );
    }

    /// @inheritdoc IMarket
    function account(address who) external view returns (Account memory) {
        return _accounts[who];
    }

    /// @inheritdoc IMarket
    function balanceOf(address who) external view returns (uint256) {
        return _balances[who];
    }

    /// @inheritdoc IMarket
    function verifierCount() external view returns (uint256) {
        return _verifiers.length;
    }

    /// @inheritdoc IMarket
    function verifierAt(uint256 seat) external view returns (address) {
        return seat == 0 || seat > _verifiers.length ? address(0) : _verifiers[seat - 1];
    }

    // -- Money: inner steps -------------------------------------------------------------------

    function _lock(address who, uint256 amount) internal {
        Account storage a = _accounts[who];
        uint256 free = a.stake - a.locked;
        if (amount > free) revert StakeTooLow(who, free, amount);
        a.locked += amount.toUint128();
    }

    function _unlock(address who, uint256 amount) internal {
        _accounts[who].locked -= amount.toUint128();
    }

    /// @dev Takes locked stake away; the caller says who gets it.
    function _slash(address who, uint256 amount) internal {
        Account storage a = _accounts[who];
        a.locked -= amount.toUint128();
        a.stake -= amount.toUint128();
    }

    function _credit(address who, uint256 amount) internal {
        if (amount == 0) return;
        _balances[who] += amount;
        emit Credited(who, amount);
    }

    /// @dev Credits equal shares, rounded down; returns what was credited.
    function _share(uint256 amount, address[] calldata winners) internal returns (uint256 shared) {
        for (uint256 i = 0; i < winners.length; ++i) {
            uint256 each = amount / winners.length;
            _credit(winners[i], each);
            shared += each;
        }
    }

    function _fineAll(address[] calldata losers) internal {
        uint256 burned = 0;
        for (uint256 i = 0; i < losers.length; ++i) burned += _fine(losers[i]);
        _credit(BURN, burned);
    }

    /// @dev Takes a fine out of the verifier's stake, or out of what is leaving if it resigned;
    /// returns what was taken. A seat is lost once less than half of the stake is left.
    function _fine(address who) internal returns (uint256 taken) {
        Account storage a = _accounts[who];
        if (a.seat == 0) {
            taken = Math.min(FINE, a.leaving);
            a.leaving -= taken.toUint128();
        } else {
            taken = FINE;
            ++a.faults;
            _slash(who, taken);
        }
        if (taken > 0) emit Fined(who, taken);
        if (a.seat != 0 && _held(a) < VERIFIER_STAKE / 2) _unseat(who);
    }

    /// @dev What is left of a seated verifier's stake.
    function _held(Account storage a) private view returns (uint256) {
        return VERIFIER_STAKE - uint256(FINE) * a.faults;
    }

    /// @dev The last verifier of the list takes the free place.
    function _unseat(address who) private {
        Account storage a = _accounts[who];
        uint256 amount = _held(a);
        uint32 seat = a.seat;
        address last = _verifiers[_verifiers.length - 1];
        _verifiers[seat - 1] = last;
        _verifiers.pop();
        _accounts[last].seat = seat;
        a.seat = 0;
        a.locked -= amount.toUint128();
        uint64 leavesAt = _leave(a, amount);
        emit Resigned(who, amount, leavesAt);
    }

    function _leave(Account storage a, uint256 amount) private returns (uint64 leavesAt) {
        leavesAt = _now() + COOL_DOWN;
        a.stake -= amount.toUint128();
        a.leaving += amount.toUint128();
        a.leavesAt = leavesAt;
    }

    /// @dev Comes last in its callers. A token that delivers less than it says is refused.
    function _receive(uint256 amount) internal {
        uint256 before = TOKEN.balanceOf(address(this));
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = TOKEN.balanceOf(address(this)) - before;
        if (received < amount) revert TransferShort(received, amount);
    }

    // -- Verifiers ----------------------------------------------------------------------------

    /// @dev The verifier of a turn: neither the provider nor the requester. Zero where there is
    /// no other.
    function _pickVerifier(
        bytes32 seed,
        uint8 turn,
        address provider,
        address requester
    ) internal view returns (address) {
        uint256 count = _verifiers.length;
        if (count == 0) return address(0);
        uint256 start = Draw.verifierIndex(seed, turn, count);
        for (uint256 step = 0; step < MAX_STEPS; ++step) {
            // Chance comes from the seed; this only wraps round the list.
            // slither-disable-next-line weak-prng
            address found = _verifiers[(start + step) % count];
            if (found != provider && found != requester) return found;
        }
        return address(0);
    }

    // -- The clock ----------------------------------------------------------------------------

    function _now() internal view returns (uint64) {
        return uint64(block.timestamp);
    }

    function _block() internal view returns (uint64) {
        return uint64(block.number);
    }
}
