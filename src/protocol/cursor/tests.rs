use proptest::prelude::*;

use super::*;

fn at(micros: i64) -> Cursor {
    Cursor::at(Stamp::from_micros(micros))
}

fn tables(list: &str) -> Tables {
    Tables::parse(list).unwrap()
}

const SAMPLE: i64 = 1_795_340_172_123_456;

#[test]
fn a_cursor_prints_as_a_time_of_fixed_width() {
    for (micros, text) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (SAMPLE, "2026-11-22T09:36:12.123456Z"),
        (951_868_799_999_999, "2000-02-29T23:59:59.999999Z"),
        (4_107_542_400_000_001, "2100-03-01T00:00:00.000001Z"),
        (LAST_MICROS, "9999-12-31T23:59:59.999999Z"),
        (i64::MAX, "9999-12-31T23:59:59.999999Z"),
        (-1, "1970-01-01T00:00:00.000000Z"),
        (i64::MIN, "1970-01-01T00:00:00.000000Z"),
    ] {
        assert_eq!(at(micros).to_string(), text);
    }
}

#[test]
fn a_history_stands_behind_the_time() {
    let history = History {
        restarts: 1,
        read_to: Stamp::from_micros(0x1a),
        upto: Stamp::from_micros(0xff),
        tables: u64::MAX,
    };
    let cursor = Cursor { history: Some(history), ..at(SAMPLE) };
    let text = cursor.to_string();
    assert_eq!(
        text,
        "2026-11-22T09:36:12.123456Z~00000001.000000000000001a.00000000000000ff.ffffffffffffffff"
    );
    assert_eq!(Cursor::parse(&text), cursor);
    assert!(text > at(SAMPLE).to_string());
    assert!(text < at(SAMPLE + 1).to_string());
}

#[test]
fn any_time_is_understood() {
    for text in [
        "2026-11-22T09:36:12.123456Z",
        "2026-11-22T09:36:12.123456789Z",
        "2026-11-22T10:36:12.123456+01:00",
        "2026-11-22T10:36:12.123456 01:00",
        "2026-11-22T04:06:12.123456-05:30",
        "2026-11-22T09:36:12.123456+00:00",
        "2026-11-22T09:36:12.123456-00:00",
        "2026-11-22t09:36:12.123456z",
        " 2026-11-22T09:36:12.123456Z\n",
        "2026-11-22 09:36:12.123456Z",
    ] {
        let expected = if text.starts_with("2026-11-22 ") { Cursor::START } else { at(SAMPLE) };
        assert_eq!(Cursor::parse(text), expected, "{text}");
    }
    let second = SAMPLE - 123_456;
    for (text, micros) in [
        ("2026-11-22T09:36:12Z", second),
        ("2026-11-22T09:36:12.123Z", second + 123_000),
        ("2026-11-22T09:36:12.1Z", second + 100_000),
        ("2026-11-22T09:36:12.000000999Z", second),
        ("2026-11-22T10:36:12 0100", second),
        ("1970-01-01T00:00:00.000Z", 0),
        ("1969-12-31T23:59:59.999Z", 0),
        ("0001-01-01T00:00:00Z", 0),
        ("-000001-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.5+00:00:01", 0),
        // Later than any instant of jiff's, and not the start.
        ("9999-12-31T23:59:59.999Z", LAST_MICROS - 999),
        ("9999-12-31T23:59:59-23:00", LAST_MICROS),
    ] {
        assert_eq!(Cursor::parse(text), at(micros), "{text}");
    }
}

#[test]
fn what_is_no_time_reads_from_the_start() {
    for text in [
        "",
        " ",
        "0",
        "null",
        "yesterday",
        "1795340172123",
        "2026-11-22",
        // Without an offset it may be a local time, and later than was meant.
        "2026-11-22T09:36:12",
        "2026-13-22T09:36:12Z",
        "2026-02-29T09:36:12Z",
        "2026-11-22T25:36:12Z",
        "2026-11-22T09:36:12Z2026-11-22T09:36:12Z",
        "+292277-01-01T00:00:00Z",
        "~",
        "~00000000.0000000000000001.0000000000000002.0000000000000003",
        "\0",
        "２０２６-11-22T09:36:12Z",
    ] {
        assert_eq!(Cursor::parse(text), Cursor::START, "{text}");
    }
}

#[test]
fn a_damaged_history_is_ignored() {
    for suffix in [
        "",
        "x",
        "00000000.0000000000000001.0000000000000002",
        "00000000.0000000000000001.0000000000000002.0000000000000003.",
        "00000000.0000000000000001.0000000000000002.0000000000000003~",
        "00000000.0000000000000001.0000000000000002.000000000000000A",
        "00000000.0000000000000001.0000000000000002.+000000000000003",
        "00000000.000000000000001.00000000000000002.0000000000000003",
        "00000000.ffffffffffffffff.0000000000000002.0000000000000003",
        "00000000.0384440ccc736000.0000000000000002.0000000000000003",
        "00000000.0000000000000001.0000000000000002.000000000000000ä",
    ] {
        assert_eq!(Cursor::parse(&format!("2026-11-22T09:36:12.123456Z~{suffix}")), at(SAMPLE));
    }
}

#[test]
fn a_history_fits_its_tables_only() {
    let page = PageEnd { last: Some(STAMP_3), more: true, bound: STAMP_9, pending: Some(STAMP_8) };
    let cursor = page_end(Cursor::at(STAMP_5), &tables("a,b"), page);
    assert_eq!(cursor.history_for(&tables("b,a")), Some((STAMP_3, STAMP_8)));
    assert_eq!(cursor.history_for(&tables("a")), None);
    assert_eq!(cursor.history_for(&Tables::All), None);
    assert_eq!(Cursor::at(STAMP_5).history_for(&Tables::All), None);
}

const STAMP_3: Stamp = Stamp::from_micros(3);
const STAMP_5: Stamp = Stamp::from_micros(5);
const STAMP_7: Stamp = Stamp::from_micros(7);
const STAMP_8: Stamp = Stamp::from_micros(8);
const STAMP_9: Stamp = Stamp::from_micros(9);

#[test]
fn a_page_ends_where_it_offered_everything() {
    let since = Cursor::at(STAMP_5);
    let end = |last, more, pending| {
        let page = PageEnd { last, more, bound: STAMP_9, pending };
        let cursor = page_end(since, &Tables::All, page);
        (cursor.stamp, cursor.history.map(|h| (h.restarts, h.read_to, h.upto)))
    };
    // The last page ends at the bound, whatever was on it.
    assert_eq!(end(None, false, None), (STAMP_9, None));
    assert_eq!(end(Some(STAMP_7), false, None), (STAMP_9, None));
    assert_eq!(end(Some(STAMP_3), false, Some(STAMP_9)), (STAMP_9, None));
    // Without a joining, a page ends at its last change.
    assert_eq!(end(Some(STAMP_7), true, None), (STAMP_7, None));
    // Inside a history it stays where it began, and says how far it came.
    let inside = (STAMP_5, Some((0, STAMP_3, STAMP_8)));
    assert_eq!(end(Some(STAMP_3), true, Some(STAMP_8)), inside);
    let at_cursor = (STAMP_5, Some((0, STAMP_5, STAMP_8)));
    assert_eq!(end(Some(STAMP_5), true, Some(STAMP_8)), at_cursor);
    // Past the cursor, and not yet at the joining.
    let past = (STAMP_7, Some((0, STAMP_7, STAMP_8)));
    assert_eq!(end(Some(STAMP_7), true, Some(STAMP_8)), past);
    // At the joining and past it.
    assert_eq!(end(Some(STAMP_8), true, Some(STAMP_8)), (STAMP_8, None));
    assert_eq!(end(Some(STAMP_9), true, Some(STAMP_8)), (STAMP_9, None));
    // Nothing offered, nothing passed.
    assert_eq!(end(None, true, Some(STAMP_8)), (STAMP_5, None));
}

#[test]
fn a_history_begun_anew_sorts_after_the_one_before() {
    let page = |last, pending| PageEnd {
        last: Some(last),
        more: true,
        bound: STAMP_9,
        pending: Some(pending),
    };
    let first = page_end(Cursor::at(STAMP_5), &tables("a"), page(STAMP_5, STAMP_7));
    let other_tables = page_end(first, &tables("b"), page(STAMP_3, STAMP_7));
    let joined_again = page_end(other_tables, &tables("b"), page(STAMP_3, STAMP_8));
    let further = page_end(joined_again, &tables("b"), page(STAMP_5, STAMP_8));
    let chain = [first, other_tables, joined_again, further].map(|cursor| cursor.to_string());
    assert!(chain.is_sorted_by(|a, b| a < b), "{chain:#?}");
}

proptest! {
    #[test]
    fn a_cursor_comes_back_as_it_was_printed(cursor in cursor()) {
        let text = cursor.to_string();
        prop_assert_eq!(Cursor::parse(&text), cursor);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-:.~".contains(&byte);
        prop_assert!(text.bytes().all(plain), "{}", text);
    }

    #[test]
    fn the_time_is_that_of_a_calendar(micros in 0..253_402_207_200_000_000_i64) {
        let time = jiff::Timestamp::from_microsecond(micros).unwrap();
        prop_assert_eq!(at(micros).to_string(), time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string());
    }

    #[test]
    fn the_order_of_cursors_is_that_of_their_text(a in 0..=LAST_MICROS, b in 0..=LAST_MICROS) {
        prop_assert_eq!(a.cmp(&b), at(a).to_string().cmp(&at(b).to_string()));
        prop_assert_eq!(a.cmp(&(a / 2)), at(a).to_string().cmp(&at(a / 2).to_string()));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", tail in "[0-9TZ:.~ +a-f-]{0,40}") {
        let _ = Cursor::parse(&text);
        let _ = Cursor::parse(&format!("2026-11-22T09:36:12{tail}"));
    }

    /// Whatever is joined, left or asked for between the pages of a reader.
    #[test]
    fn cursors_rise_over_pages(steps in prop::collection::vec(step(), 1..20)) {
        let mut cursor = Cursor::at(Stamp::from_micros(50));
        for Step { tables, pending, advance, more } in steps {
            let since = cursor.stamp.micros();
            let pending = pending.map(|after| Stamp::from_micros(since + after));
            // A page of a history that goes on lies after it, one begun anew anywhere.
            let lowest = match (pending, cursor.history_for(&tables)) {
                (None, _) => since,
                (Some(pending), Some((read_to, upto))) if pending <= upto => read_to.micros(),
                _ => 0,
            };
            let last = Stamp::from_micros(lowest + advance);
            let bound = Stamp::from_micros(since + 1000);
            let page = PageEnd { last: Some(last), more, bound, pending };
            let next = page_end(cursor, &tables, page);
            prop_assert!(next.to_string() > cursor.to_string(), "{} after {}", next, cursor);
            prop_assert!(next.history.is_none_or(|history| history.upto > next.stamp));
            prop_assert!(more || next.history.is_none());
            cursor = Cursor::parse(&next.to_string());
            prop_assert_eq!(cursor, next);
        }
    }
}

#[derive(Debug, Clone)]
struct Step {
    tables: Tables,
    /// How far after the cursor the last joining lies.
    pending: Option<i64>,
    /// How far the page comes.
    advance: i64,
    more: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let tables = prop::sample::select(vec![Tables::All, tables("a"), tables("a,b")]);
    (tables, prop::option::weighted(0.8, 1..30_i64), 1..20_i64, prop::bool::weighted(0.9))
        .prop_map(|(tables, pending, advance, more)| Step { tables, pending, advance, more })
}

fn cursor() -> impl Strategy<Value = Cursor> {
    let stamp = || (0..=LAST_MICROS).prop_map(Stamp::from_micros);
    let history = (any::<u32>(), stamp(), stamp(), any::<u64>())
        .prop_map(|(restarts, read_to, upto, tables)| History { restarts, read_to, upto, tables });
    (stamp(), prop::option::of(history)).prop_map(|(stamp, history)| Cursor { stamp, history })
}
