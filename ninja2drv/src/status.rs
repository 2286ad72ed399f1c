//! What stands before each line of progress, as `NINJA_STATUS` asks for it. Pure.
//!
//! Source: the Ninja manual, "Environment variables"; what a placeholder prints is what Ninja 1.13.2 prints.

use std::time::Duration;

/// What is printed where the user asks for nothing else.
pub const DEFAULT: &str = "[%f/%t] ";

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Edges whose commands were begun.
    pub started: usize,
    /// Edges whose commands are over, or came from the store.
    pub finished: usize,
    /// Edges of the plan, without those that turned out to be up to date.
    pub total: usize,
    /// Since the begin.
    pub elapsed: Duration,
}

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(char),
}

/// A placeholder that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown placeholder '%{0}' in $NINJA_STATUS")]
pub struct UnknownPlaceholder(String);

impl Format {
    /// Reads a format.
    ///
    /// # Errors
    /// [`UnknownPlaceholder`].
    pub fn new(text: &str) -> Result<Self, UnknownPlaceholder> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            parts.push(Part::Text(before.into()));
            let letter = after.chars().next();
            parts.push(match letter {
                Some('%') => Part::Text("%".into()),
                Some(letter) if "stpruoceEwWPf".contains(letter) => Part::Placeholder(letter),
                unknown => return Err(UnknownPlaceholder(unknown.map(String::from).unwrap_or_default())),
            });
            rest = &after[1..];
        }
        parts.push(Part::Text(rest.into()));
        Ok(Self(parts))
    }

    /// The text for a state of the run.
    pub fn expand(&self, progress: &Progress) -> String {
        let expand = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Placeholder(letter) => progress.expand(*letter),
        };
        self.0.iter().map(expand).collect()
    }
}

impl Progress {
    fn expand(&self, letter: char) -> String {
        let Self { started, finished, total, elapsed } = *self;
        match letter {
            's' => started.to_string(),
            't' => total.to_string(),
            'r' => started.saturating_sub(finished).to_string(),
            'u' => total.saturating_sub(started).to_string(),
            'f' => finished.to_string(),
            'p' => percent(finished as f64, total as f64),
            'o' | 'c' => match elapsed.as_secs_f64() {
                seconds if finished > 0 && seconds > 0.0 => format!("{:.1}", finished as f64 / seconds),
                _ => "?".into(),
            },
            'e' => format!("{:.3}", elapsed.as_secs_f64()),
            'w' => clock(elapsed),
            'E' => self.left().map_or("?".into(), |left| format!("{:.3}", left.as_secs_f64())),
            'W' => self.left().map_or("?".into(), clock),
            _ => match self.left() {
                Some(left) => percent(elapsed.as_secs_f64(), (elapsed + left).as_secs_f64()),
                None => percent(0.0, 0.0),
            },
        }
    }

    /// How long the rest takes, if it goes on as it went; none if nothing is finished.
    fn left(&self) -> Option<Duration> {
        let unfinished = self.total.saturating_sub(self.finished) as f64;
        (self.finished > 0).then(|| self.elapsed.mul_f64(unfinished / self.finished as f64))
    }
}

fn percent(part: f64, whole: f64) -> String {
    format!("{:3.0}%", if whole > 0.0 { (100.0 * part / whole).trunc() } else { 0.0 })
}

/// `mm:ss`, or `h:mm:ss` from an hour on.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes:02}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(format: &str, progress: Progress) -> String {
        Format::new(format).unwrap().expand(&progress)
    }

    #[test]
    fn placeholders_are_what_ninja_prints() {
        let progress = Progress { started: 3, finished: 1, total: 8, elapsed: Duration::from_millis(2500) };
        assert_eq!(expanded(DEFAULT, progress), "[1/8] ");
        assert_eq!(expanded("%s %t %r %u %f %p|", progress), "3 8 2 5 1  12%|");
        assert_eq!(expanded("%o %c %e %w %E %W %P %%", progress), "0.4 0.4 2.500 00:02 17.500 00:17  12% %");
        let none = Progress { total: 8, ..Progress::default() };
        assert_eq!(expanded("%o %c %E %W %p", none), "? ? ? ?   0%");
        assert_eq!(expanded("%w", Progress { elapsed: Duration::from_secs(3723), ..none }), "1:02:03");
    }

    #[test]
    fn a_placeholder_that_nobody_knows_is_named() {
        let said = |format| Format::new(format).unwrap_err().to_string();
        assert_eq!(said("[%y]"), "unknown placeholder '%y' in $NINJA_STATUS");
        assert_eq!(said("50%"), "unknown placeholder '%' in $NINJA_STATUS");
        assert_eq!(said("%é"), "unknown placeholder '%é' in $NINJA_STATUS");
    }
}
