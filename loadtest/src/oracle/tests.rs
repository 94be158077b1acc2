//! The oracle on lines made by hand.

use super::*;

/// Users 0 and 1 share space 0; writers 0 and 1 are theirs. Changes 0 and 2 are private, 1
/// and 3 in the space; all are acknowledged but 3. User 2 shares nothing.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(&[vec![0, 1]], 3);
    for (number, (user, space)) in
        [(0, None), (0, Some(0)), (1, None), (1, Some(0))].into_iter().enumerate()
    {
        let event = Some(number as u128);
        ledger.make(Made { event, writer: user, user, app: 0, space, table: 0, digest: 7 });
        if number < 3 {
            ledger.acknowledge(u32::try_from(number).unwrap(), false);
        }
    }
    ledger
}

fn sighting(number: Number) -> Sighting {
    Sighting { app: None, number: Some(number), event: Some(u128::from(number)), digest: 7 }
}

/// The cursor of this second.
fn cursor(second: u32) -> String {
    format!("2026-01-01T00:00:{second:02}.000000Z")
}

/// Takes the changes one by one, each a second.
fn take(line: &mut Line, ledger: &Ledger, numbers: &[Number]) {
    let mut turn = line.turn("");
    for (second, number) in (1..).zip(numbers) {
        line.take(ledger, &mut turn, &[sighting(*number)], &cursor(second));
    }
}

fn line(user: usize, numbers: &[Number]) -> Line {
    let mut line = Line::new(format!("user {user}"), user, None, Reach::App(0));
    take(&mut line, &ledger(), numbers);
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
    assert_eq!(of(&[line(2, &[1])]).leaked, 1);
    // Two readers of the space disagree about writers that don't know of each other.
    assert_eq!(of(&[line(0, &[0, 1, 3]), line(1, &[2, 3, 1])]).out_of_order, 1);
}

#[test]
fn strangers_and_cursors_that_go_back_are_counted() {
    let (ledger, mut line) = (ledger(), line(1, &[1, 2]));
    let mut turn = line.turn("2026-01-01T00:00:00.000Z");
    for strange in [
        Sighting { event: Some(9), ..sighting(1) },
        Sighting { number: None, ..sighting(1) },
        Sighting { digest: 8, ..sighting(2) },
        Sighting { number: Some(99), event: None, ..sighting(1) },
    ] {
        line.take(&ledger, &mut turn, &[strange], "2026-01-01T00:00:00.000000Z");
    }
    for second in [1, 2, 1] {
        line.take(&ledger, &mut turn, &[], &cursor(second));
    }
    let verdict = ledger.judge(&[line]);
    assert_eq!((verdict.unknown, verdict.cursors_back, verdict.examples.len()), (4, 1, 1));
}

#[test]
fn what_was_unpublished_may_come_twice() {
    let mut ledger = ledger();
    ledger.acknowledge(1, true);
    let mut line = Line::new("author".to_owned(), 0, None, Reach::App(0));
    take(&mut line, &ledger, &[1, 0, 1]);
    let verdict = ledger.judge(&[line]);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(verdict.unpublished, 1);
}

#[test]
fn what_was_passed_by_is_wrong_at_once_and_lost_also_where_nobody_waits_for_it() {
    let (mut ledger, mut line) = (ledger(), Line::new("tab".to_owned(), 1, None, Reach::App(0)));
    line.open = false;
    take(&mut line, &ledger, &[3]);
    assert!(line.is_wrong());
    assert_eq!(ledger.judge(&[line]).lost, 1, "2 was acknowledged before 3 was made");
    // One cursor for each table: what stands in another says nothing.
    let event = Some(4);
    let made = Made { event, writer: 1, user: 1, app: 0, space: None, table: 1, digest: 7 };
    assert_eq!(ledger.make(made), 4);
    let mut line = Line::new("tab".to_owned(), 1, None, Reach::Table(0));
    take(&mut line, &ledger, &[4]);
    assert!(!line.is_wrong());
}

#[test]
fn a_cursor_behind_the_others_brings_some_again_and_an_exact_one_does_not() {
    let ledger = ledger();
    for (since, wrong) in [(1, 0), (2, 1)] {
        let mut line = line(0, &[0, 1]);
        let mut turn = line.turn(&cursor(since));
        line.take(&ledger, &mut turn, &[sighting(1)], &cursor(3));
        assert_eq!(line.duplicated, wrong, "from second {since}");
    }
}

#[test]
fn a_client_is_not_told_its_own() {
    let ledger = ledger();
    let mut line = Line::new("tab".to_owned(), 0, Some(0), Reach::App(0));
    assert!(ledger.missing(&line).is_empty());
    take(&mut line, &ledger, &[0]);
    assert_eq!(line.duplicated, 1);
}

/// The same, with another app where user 0 makes 4, and in the space 5; both are acknowledged.
fn two_apps() -> Ledger {
    let mut ledger = ledger();
    for (number, space) in [(4, None), (5, Some(0))] {
        let event = Some(u128::from(number));
        ledger.make(Made { event, writer: 2, user: 0, app: 1, space, table: 0, digest: 7 });
        ledger.acknowledge(number, false);
    }
    ledger
}

/// Takes changes from a stream of all apps, each under the name of this app.
fn take_named(line: &mut Line, ledger: &Ledger, since: &str, named: &[(usize, Number)]) {
    let mut turn = line.turn(since);
    for (app, number) in named {
        let change = Sighting { app: Some(*app), ..sighting(*number) };
        line.take(ledger, &mut turn, &[change], &cursor(1));
    }
}

#[test]
fn what_a_shared_stream_lacks_of_one_app_is_lost() {
    let ledger = two_apps();
    let mut line = Line::new("shared".to_owned(), 1, None, Reach::Apps);
    take_named(&mut line, &ledger, "", &[(0, 1), (0, 2)]);
    assert_eq!(ledger.missing(&line), [5]);
    assert!(!line.is_wrong(), "apps are in no order: {line:?}");
    // From the same cursor again, which was the least of its apps'.
    take_named(&mut line, &ledger, &cursor(1), &[(0, 2), (1, 5)]);
    assert!(ledger.judge(&[line]).is_clean());
    let mut line = Line::new("shared".to_owned(), 0, None, Reach::Apps);
    take_named(&mut line, &ledger, "", &[(1, 5), (0, 0)]);
    assert!(line.is_wrong(), "4 was passed by");
    take_named(&mut line, &ledger, "", &[(0, 1), (0, 1)]);
    let verdict = ledger.judge(&[line]);
    assert_eq!((verdict.lost, verdict.duplicated), (1, 1), "twice in one stream: {verdict:?}");
}

#[test]
fn what_comes_from_another_app_has_crossed() {
    let ledger = two_apps();
    // The space's member, and the author himself.
    for user in [1, 0] {
        let mut line = Line::new("pull".to_owned(), user, None, Reach::App(0));
        take(&mut line, &ledger, &[1, 5]);
        assert!(line.is_wrong());
        assert_eq!(ledger.judge(&[line]).leaked, 1);
    }
    for app in [None, Some(0), Some(1)] {
        let mut line = Line::new("shared".to_owned(), 1, None, Reach::Apps);
        let mut turn = line.turn("");
        line.take(&ledger, &mut turn, &[Sighting { app, ..sighting(5) }], &cursor(1));
        assert_eq!(line.unknown, u64::from(app != Some(1)), "named as of {app:?}");
    }
}

#[test]
fn who_is_out_sees_what_was_before_and_again_when_back() {
    let mut ledger = ledger();
    let mut line = Line::new("guest".to_owned(), 1, None, Reach::App(0));
    ledger.moves(1, 0, Standing::Gone(1));
    take(&mut line, &ledger, &[2]);
    assert!(ledger.missing(&line).is_empty() && !line.is_wrong());
    ledger.moves(1, 0, Standing::Member);
    assert_eq!(ledger.missing(&line), [1]);
    take(&mut line, &ledger, &[1, 1, 3]);
    assert!(!line.is_wrong(), "{line:?}");
    ledger.moves(1, 0, Standing::Gone(1));
    take(&mut line, &ledger, &[1]);
    assert_eq!(line.leaked, 1);
}

#[test]
fn the_database_says_what_is_to_be_seen() {
    let mut ledger = ledger();
    // 3 was never answered, and is stored; 2 was acknowledged, and is not.
    let rows = [(Some(0), 0, false), (Some(1), 1, true), (Some(3), 3, true), (None, 9, false)];
    assert_eq!(ledger.stored(&rows), Stored { strange: 1, again: 0 });
    let (first, second) = (line(0, &[0, 1, 3]), line(1, &[1, 2]));
    assert_eq!(ledger.missing(&second), [3]);
    let verdict = ledger.judge(&[first, second]);
    assert_eq!(verdict.lost, 2, "{verdict:?}");
    assert!(verdict.examples[0].contains("2 (user 1, writer 1, app 0, acknowledged, not stored)"));
}

#[test]
fn what_is_not_published_is_for_its_author_alone() {
    let mut ledger = ledger();
    ledger.acknowledge(1, true);
    ledger.stored(&[(Some(0), 0, false), (Some(1), 1, false), (Some(2), 2, false)]);
    assert_eq!(ledger.awaits_publishing(), 1);
    let verdict = ledger.judge(&[line(0, &[0, 1]), line(1, &[1, 2])]);
    assert_eq!((verdict.leaked, verdict.lost), (1, 0), "{verdict:?}");
}

#[test]
fn what_a_forgetful_database_lost_is_counted_apart() {
    let mut ledger = ledger();
    ledger.expect_losses();
    let rows = [(Some(0), 0, false), (Some(1), 1, true)];
    ledger.stored(&rows);
    // 2 was delivered, and lost thereafter; 1 was stored again, behind it.
    let verdict = ledger.judge(&[line(0, &[0, 1]), line(1, &[1, 2])]);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(verdict.forgotten, 1);
    assert_eq!(ledger.judge(&[line(0, &[0])]).lost, 1, "what it has is to be seen");
}
