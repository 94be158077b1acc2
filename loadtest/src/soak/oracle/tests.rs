//! The oracle on lines made by hand.

use super::*;

/// Users 0 and 1 share space 0; writers 0 and 1 are theirs. Changes 0 and 2 are private, 1
/// and 3 in the space; all are acknowledged but 3.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(vec![vec![0, 1]]);
    for (number, (user, space)) in
        [(0, None), (0, Some(0)), (1, None), (1, Some(0))].into_iter().enumerate()
    {
        ledger.make(number as u128, user, user, space);
        if number < 3 {
            ledger.acknowledge(u32::try_from(number).unwrap(), false);
        }
    }
    ledger
}

fn line(user: usize, numbers: &[Number]) -> Line {
    let mut line = Line::new(format!("user {user}"), user);
    for number in numbers {
        line.see(&ledger(), Some(*number), Some(u128::from(*number)));
    }
    line
}

#[test]
fn all_is_well() {
    let verdict = ledger().judge(&[line(0, &[0, 1, 3]), line(1, &[1, 2, 3]), line(0, &[0, 1])]);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!((verdict.acknowledged, verdict.seen), (3, 8));
}

#[test]
fn what_is_wrong_is_counted() {
    let of = |lines: &[Line]| ledger().judge(lines);
    assert_eq!(of(&[line(0, &[0])]).lost, 1);
    assert_eq!(of(&[line(0, &[0, 1, 0])]).duplicated, 1);
    assert_eq!(of(&[line(0, &[1, 0])]).out_of_order, 1);
    assert_eq!(of(&[line(0, &[0, 1, 2])]).leaked, 1);
    // Two readers of the space disagree about writers that don't know of each other.
    assert_eq!(of(&[line(0, &[0, 1, 3]), line(1, &[2, 3, 1])]).out_of_order, 1);
}

#[test]
fn strangers_and_cursors_that_go_back_are_counted() {
    let mut line = line(1, &[1, 2]);
    line.see(&ledger(), Some(1), Some(7));
    line.see(&ledger(), None, Some(7));
    line.see(&ledger(), Some(99), None);
    for cursor in ["b", "b", "c", "a"] {
        line.go_on(cursor);
    }
    let verdict = ledger().judge(&[line]);
    assert_eq!((verdict.unknown, verdict.cursors_back, verdict.examples.len()), (3, 1, 1));
}

#[test]
fn what_was_unpublished_may_come_twice() {
    let mut ledger = ledger();
    ledger.acknowledge(1, true);
    let verdict = ledger.judge(&[line(0, &[1, 0, 1])]);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(verdict.unpublished, 1);
}
