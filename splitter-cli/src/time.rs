//! Times for people.

use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-11-21 15:40:13 UTC (3 hours ago)`.
pub fn text(time: SystemTime, now: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86400, seconds % 86400);
    let (year, month, day) = date(days);
    let ago = ago(now.duration_since(time).unwrap_or_default().as_secs());
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC ({ago})")
}

fn ago(seconds: u64) -> String {
    let units = [("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)];
    match units.into_iter().map(|(unit, length)| (unit, seconds / length)).find(|(_, count)| *count > 0) {
        None => "now".into(),
        Some((unit, 1)) => format!("1 {unit} ago"),
        Some((unit, count)) => format!("{count} {unit}s ago"),
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
fn date(mut days: u64) -> (u64, usize, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_is_written_as_utc_and_as_its_distance() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(text(at(0), at(0)), "1970-01-01 00:00:00 UTC (now)");
        assert_eq!(text(at(951_827_696), at(951_827_697)), "2000-02-29 12:34:56 UTC (1 second ago)");
        assert_eq!(text(at(1_795_275_613), at(1_795_286_500)), "2026-11-21 15:40:13 UTC (3 hours ago)");
        assert_eq!(text(at(1_735_689_599), at(1_735_689_599 + 3 * 86400)), "2024-12-31 23:59:59 UTC (3 days ago)");
    }
}
