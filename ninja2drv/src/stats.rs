//! `-d stats`: what a run has spent its time with, in the form of ninja's table.

use crate::report::say;
use std::time::{Duration, Instant};

/// How often something was done, and how long that took.
#[derive(Debug, Default)]
pub struct Stats(Vec<(&'static str, u32, Duration)>);

impl Stats {
    /// Does something, and counts it.
    pub fn time<T>(&mut self, metric: &'static str, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let done = work();
        let time = begin.elapsed();
        match self.0.iter_mut().find(|(known, ..)| *known == metric) {
            Some((_, count, total)) => (*count, *total) = (*count + 1, *total + time),
            None => self.0.push((metric, 1, time)),
        }
        done
    }

    /// Prints the table.
    pub fn tell(&self) {
        let width = self.0.iter().map(|(metric, ..)| metric.len()).max().unwrap_or(0).max("metric".len());
        say!("{:width$}\t{:<6}\t{:<9}\t{}", "metric", "count", "avg (us)", "total (ms)");
        for (metric, count, total) in &self.0 {
            let average = total.as_secs_f64() * 1e6 / f64::from(*count);
            say!("{metric:width$}\t{count:<6}\t{average:<8.1}\t{:.1}", total.as_secs_f64() * 1e3);
        }
    }
}
