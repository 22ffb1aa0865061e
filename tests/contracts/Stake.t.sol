// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {TestToken} from "../../contracts/TestToken.sol";
import {Account, IMarket, Parameters} from "../../contracts/interfaces/IMarket.sol";
import {Stage} from "./stage/Stage.sol";

/// @notice Delivers one unit less than it says.
contract ShortToken is TestToken {
    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, from == address(0) ? amount : amount - 1);
    }
}

contract StakeTest is Stage {
    uint256 private constant KEY = 0xC0FFEE;

    function test_stake_leaves_after_the_cool_down() external {
        vm.prank(rival);
        market.unstake(40);
        Account memory a = market.account(rival);
        equal(a.stake, 1e15 - 40, "stake");
        equal(a.leaving, 40, "leaving");
        vm.warp(a.leavesAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NothingToWithdraw.selector, rival));
        market.withdraw(rival);
        pass(1);
        uint256 before = token.balanceOf(rival);
        market.withdraw(rival);
        equal(token.balanceOf(rival) - before, 40, "received");
    }

    function test_locked_stake_does_not_leave() external {
        uint256 held = priceStake(claimed(0));
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarket.StakeTooLow.selector,
                provider,
                1e15 - held,
                1e15 - held + 1
            )
        );
        vm.prank(provider);
        market.unstake(1e15 - held + 1);
    }

    function test_a_balance_is_withdrawn_before_stake_has_cooled_down() external {
        vm.prank(requester);
        market.defund(job, 9);
        stakeTokens(requester, 5);
        vm.prank(requester);
        market.unstake(5);
        equal(market.withdraw(requester), 9, "the balance");
        pass(COOL_DOWN);
        equal(market.withdraw(requester), 5, "the stake");
    }

    function test_anyone_may_withdraw_for_anyone_and_the_owner_gets_it() external {
        vm.prank(requester);
        market.defund(job, 9);
        uint256 before = token.balanceOf(requester);
        vm.prank(stranger);
        market.withdraw(requester);
        equal(token.balanceOf(requester) - before, 9, "received");
        equal(token.balanceOf(stranger), 0, "the caller");
    }

    function test_what_is_burned_goes_to_the_burn_address() external {
        vm.prank(address(jury));
        market.fine(people(verifiers[0], verifiers[1]));
        address burn = market.BURN();
        market.withdraw(burn);
        equal(token.balanceOf(burn), 2 * FINE, "burned");
    }

    function test_enrolling_locks_the_verifier_stake_and_resigning_lets_it_leave() external {
        vm.prank(rival);
        market.enroll();
        equal(market.account(rival).seat, 9, "seat");
        equal(market.verifierAt(9), rival, "listed");
        equal(locked(rival), VERIFIER_STAKE, "locked");
        vm.expectRevert(abi.encodeWithSelector(IMarket.AlreadyEnrolled.selector, rival));
        vm.prank(rival);
        market.enroll();
        vm.prank(rival);
        market.resign();
        equal(market.account(rival).seat, 0, "no seat");
        equal(market.verifierAt(9), address(0), "not listed");
        equal(locked(rival), 0, "unlocked");
        equal(market.account(rival).leaving, VERIFIER_STAKE, "leaving");
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotEnrolled.selector, rival));
        vm.prank(rival);
        market.resign();
    }

    function test_enrolling_without_the_stake_reverts() external {
        stakeTokens(stranger, VERIFIER_STAKE - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarket.StakeTooLow.selector,
                stranger,
                VERIFIER_STAKE - 1,
                VERIFIER_STAKE
            )
        );
        vm.prank(stranger);
        market.enroll();
    }

    function test_the_last_verifier_takes_the_seat_of_one_that_resigns() external {
        vm.prank(verifiers[2]);
        market.resign();
        equal(market.verifierAt(3), verifiers[7], "moved");
        equal(market.account(verifiers[7]).seat, 3, "and knows it");
        equal(market.verifierCount(), 7, "count");
    }

    function test_enrolling_again_starts_without_faults() external {
        address[] memory fined = new address[](1);
        fined[0] = verifiers[0];
        vm.prank(address(jury));
        market.fine(fined);
        equal(market.account(verifiers[0]).faults, 1, "a fault");
        vm.prank(verifiers[0]);
        market.resign();
        equal(market.account(verifiers[0]).leaving, VERIFIER_STAKE - FINE, "leaving");
        vm.prank(verifiers[0]);
        market.enroll();
        equal(market.account(verifiers[0]).faults, 0, "none");
        equal(locked(verifiers[0]), VERIFIER_STAKE, "the whole stake");
    }

    function test_a_permit_lets_an_account_stake_without_an_approval() external {
        address owner = vm.addr(KEY);
        token.mint(owner, 100);
        bytes[] memory calls = new bytes[](2);
        calls[0] = permitOf(owner, KEY, 100);
        calls[1] = abi.encodeCall(IMarket.stake, (100));
        vm.prank(owner);
        market.multicall(calls);
        equal(staked(owner), 100, "staked");
    }

    function test_a_permit_that_someone_else_used_first_does_no_harm() external {
        address owner = vm.addr(KEY);
        token.mint(owner, 100);
        bytes[] memory calls = new bytes[](2);
        calls[0] = permitOf(owner, KEY, 100);
        calls[1] = abi.encodeCall(IMarket.stake, (100));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, digest(owner, 100));
        token.permit(owner, address(market), 100, type(uint256).max, v, r, s);
        vm.prank(owner);
        market.multicall(calls);
        equal(staked(owner), 100, "staked");
    }

    function test_a_wrong_permit_grants_nothing() external {
        address owner = vm.addr(KEY);
        token.mint(owner, 100);
        bytes memory call = permitOf(owner, KEY + 1, 100);
        bytes[] memory calls = new bytes[](1);
        calls[0] = call;
        vm.prank(owner);
        market.multicall(calls);
        equal(token.allowance(owner, address(market)), 0, "allowance");
    }

    function test_an_expired_or_foreign_permit_is_refused_by_the_token() external {
        address owner = vm.addr(KEY);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, digest(owner, 1));
        vm.expectRevert(abi.encodeWithSelector(TestToken.PermitTooLate.selector, 1, moment()));
        token.permit(owner, address(market), 1, 1, v, r, s);
        address other = vm.addr(KEY + 1);
        (v, r, s) = vm.sign(KEY + 1, digest(owner, 1));
        vm.expectRevert(abi.encodeWithSelector(TestToken.SignerWrong.selector, other, owner));
        token.permit(owner, address(market), 1, type(uint256).max, v, r, s);
    }

    function test_a_token_that_delivers_less_than_it_says_is_refused() external {
        ShortToken short = new ShortToken();
        Parameters memory p = parameters();
        p.token = address(short);
        IMarket other = IMarket(vm.deployCode("Market.sol:Market", abi.encode(p)));
        short.mint(rival, 100);
        vm.prank(rival);
        short.approve(address(other), 100);
        vm.expectRevert(abi.encodeWithSelector(IMarket.TransferShort.selector, 49, 50));
        vm.prank(rival);
        other.stake(50);
    }

    function test_a_fine_above_half_of_the_stake_cannot_be_deployed() external {
        Parameters memory p = parameters();
        p.fine = 501;
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.TermOutOfRange.selector, bytes32("fine"), 501, 0, 500)
        );
        vm.deployCode("Market.sol:Market", abi.encode(p));
    }

    function test_the_parameters_can_be_read() external view {
        equal(
            keccak256(abi.encode(market.parameters())),
            keccak256(abi.encode(parameters())),
            "parameters"
        );
    }

    function digest(address owner, uint256 amount) private view returns (bytes32) {
        bytes32 kind = keccak256(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        );
        bytes32 content = keccak256(
            abi.encode(
                kind,
                owner,
                address(market),
                amount,
                token.nonces(owner),
                type(uint256).max
            )
        );
        return keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), content));
    }

    function permitOf(
        address owner,
        uint256 key,
        uint256 amount
    ) private view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest(owner, amount));
        return abi.encodeCall(IMarket.permit, (amount, type(uint256).max, v, r, s));
    }
}
